package test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/test/platform"
)

// A function takes the spare instance that another one of its namespace and kind
// asked for, and has its own source and environment in it; the pool is filled
// again. A function of another namespace takes none.
func TestFunctionWarmPool(t *testing.T) {
	ns, other := namespace(t), namespace(t)
	file := source(t, "import os\ndef greet(event, context):\n    return context['function-name'] + os.environ.get('SAYS', '')\n")
	deploy := func(ns, name string, more ...string) {
		t.Helper()
		function(t, ns, append([]string{"deploy", name, "--runtime=python3", "--handler=app.greet", "--from-file=" + file, "--runtime-class=runc", "--warm-pool=1"}, more...)...)
	}
	deploy(ns, "first")
	spare := awaitSpare(t, ns, "")
	deploy(other, "elsewhere")
	if pod := instanceOf(t, other, "elsewhere"); strings.HasPrefix(pod.Name, "spare-") {
		t.Errorf("a function of another namespace runs in %s", pod.Name)
	}
	deploy(ns, "second", "--env=SAYS= hello")
	if pod := instanceOf(t, ns, "second"); pod.UID != spare.UID {
		t.Errorf("the second function runs in %s, not in the spare instance %s", pod.Name, spare.Name)
	}
	if out := function(t, ns, "call", "second", "-d", "x"); strings.TrimSpace(out) != "second hello" {
		t.Errorf("the second function answers %q", out)
	}
	if out := function(t, ns, "call", "first", "-d", "x"); strings.TrimSpace(out) != "first" {
		t.Errorf("the first function answers %q", out)
	}
	awaitSpare(t, ns, spare.Name)
	function(t, ns, "delete", "first")
	function(t, ns, "delete", "second")
	platform.Eventually(t, "no spare instance is left", func() error {
		if left := spares(t, ns); len(left) > 0 {
			return fmt.Errorf("%s is left", left[0].Name)
		}
		return nil
	})
}

func TestFunctionWarmPoolRefuses(t *testing.T) {
	ns := namespace(t)
	file := source(t, functionSources["ruby"].first)
	_, err := shared.Try(t, "", "function", "-n", ns, "deploy", "hi", "--runtime=ruby", "--handler=app.greet", "--from-file="+file, "--warm-pool=1")
	if err == nil || !all(err.Error(), "ruby has no spare instances", "python3 or nodejs") {
		t.Errorf("a runtime without spares: %v", err)
	}
	_, err = shared.Try(t, "", "function", "-n", ns, "deploy", "hi", "--runtime=python3", "--handler=app.greet", "--from-file="+file, "--warm-pool=11")
	if err == nil || !all(err.Error(), "--warm-pool 11", "0 to 10") {
		t.Errorf("a pool that is too large: %v", err)
	}
}

// awaitSpare is the namespace's spare instance, once one but that of a name is
// ready.
func awaitSpare(t *testing.T, ns, but string) (spare corev1.Pod) {
	t.Helper()
	platform.Eventually(t, "a spare instance is ready", func() error {
		for _, spare = range spares(t, ns) {
			if spare.Name != but && kube.PodIs(&spare, corev1.PodReady) {
				return nil
			}
		}
		return errors.New("none is ready")
	})
	return spare
}

func spares(t *testing.T, ns string) []corev1.Pod {
	t.Helper()
	list, err := shared.Cluster.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: kubeless.SpareLabel})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}
