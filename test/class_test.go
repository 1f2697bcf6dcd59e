package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// inEveryClass runs f for each class that the node has, side by side, in
// namespaces of their own.
func inEveryClass(t *testing.T, f func(t *testing.T, class, ns string)) {
	t.Helper()
	shell(t)
	for _, class := range classes(t) {
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			f(t, class, namespace(t))
		})
	}
}

// classes are those that the node has. A plain machine has the first two,
// always; which others there are is said aloud.
func classes(t *testing.T) []string {
	t.Helper()
	list, err := shared.Cluster.NodeV1().RuntimeClasses().List(t.Context(), metav1.ListOptions{LabelSelector: "redoubt.dev/isolation"})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"runc", "gvisor"}
	for _, class := range list.Items {
		if class.Name == "microvm" {
			return append(names, class.Name)
		}
	}
	t.Log("the class microvm is not tested: this node has it not")
	return names
}

// apply makes what testdata/pods/NAME.yaml says, in a class, and waits until
// its pod of that name runs with all containers ready. values are names in the
// file, each with what it stands for.
func apply(t *testing.T, ns, class, name string, values ...string) *corev1.Pod {
	t.Helper()
	submit(t, ns, class, name, values...)
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "pod/"+name)
	pod, err := shared.Cluster.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// submit makes what testdata/pods/NAME.yaml says and does not wait.
func submit(t *testing.T, ns, class, name string, values ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "pods", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	manifest := strings.NewReplacer(append(values, "$CLASS", class, "$IMAGE", shellImage, "$PORT", hostPorts[class])...).Replace(string(text))
	if _, err := shared.Try(t, manifest, "kubectl", "-n", ns, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// question is a shell command for a pod, and what it is to print.
type question struct{ what, command, want string }

// askAll asks one container all questions in one go.
func askAll(t *testing.T, pod *corev1.Pod, container string, questions []question) {
	t.Helper()
	const end = "-- end of answer --"
	var script strings.Builder
	for _, q := range questions {
		script.WriteString("( " + q.command + "\n) 2>&1; echo '" + end + "'\n")
	}
	out := shared.Kubectl(t, "-n", pod.Namespace, "exec", pod.Name, "-c", container, "--", "/bin/sh", "-c", script.String())
	answers := strings.Split(out, end)
	if len(answers) != len(questions)+1 {
		t.Fatalf("%d questions got %d answers: %s", len(questions), len(answers)-1, out)
	}
	for i, q := range questions {
		if other, ok := otherwise[*pod.Spec.RuntimeClassName][q.what]; ok {
			q.want = other
		}
		if got := strings.TrimSpace(answers[i]); got != q.want {
			t.Errorf("%s: %s: %s: %q, want %q", container, q.what, q.command, got, q.want)
		}
	}
}
