package test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/test/platform"
)

// isNumber depends on a package of npm's registry.
const isNumber = "const isNumber = require('is-number');\nmodule.exports = { greet: (event) => %q + isNumber(event.data) };\n"

// What package.json names is installed in a sandbox of the function's class; a
// change of the source alone installs nothing anew.
func TestFunctionDependencies(t *testing.T) {
	ns := namespace(t)
	manifest := source(t, `{"dependencies": {"is-number": "7.0.0"}}`)
	function(t, ns, "deploy", "num", "--runtime=nodejs", "--handler=app.greet", "--from-file="+source(t, fmt.Sprintf(isNumber, "")), "--dependencies="+manifest, "--runtime-class=gvisor")
	if out := function(t, ns, "call", "num", "-d", "7"); out != "true" {
		t.Errorf("the function answered %q", out)
	}
	image := shared.Kubectl(t, "-n", ns, "get", "revision", "num-00001", "-o", "jsonpath={.spec.containers[0].image}")
	function(t, ns, "update", "num", "--from-file="+source(t, fmt.Sprintf(isNumber, "it is ")))
	if out := function(t, ns, "call", "num", "-d", "x"); out != "it is false" {
		t.Errorf("the changed function answered %q", out)
	}
	if out := shared.Kubectl(t, "-n", ns, "get", "revision", "num-00002", "-o", "jsonpath={.spec.containers[0].image}"); out != image || !strings.HasPrefix(image, "localhost/redoubt/build/"+ns+":") {
		t.Errorf("it runs in %q, and ran in %q", out, image)
	}
	platform.Eventually(t, "the build's pod is gone", func() error {
		if out := shared.Kubectl(t, "-n", ns, "get", "pods", "-l", kubeless.BuildLabel, "-o", "name"); out != "" {
			return errors.New(out)
		}
		return nil
	})
	keepsToItsNamespace(t, image)
}

// What was built for a namespace is not run in another one, and nobody makes
// pods whose result the node would store.
func keepsToItsNamespace(t *testing.T, image string) {
	t.Helper()
	other := namespace(t)
	of := strings.TrimPrefix(image, "localhost/redoubt/build/")
	own, _, _ := strings.Cut(of, ":")
	pod := func(ns string, labels map[string]string) error {
		_, err := shared.Cluster.CoreV1().Pods(ns).Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "taker", Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}},
		}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	if err := pod(own, nil); err != nil {
		t.Errorf("in its own namespace: %v", err)
	}
	if err := pod(other, nil); err == nil || !strings.Contains(err.Error(), "built for a function of another namespace") {
		t.Errorf("in another namespace: %v", err)
	}
	if err := pod(own, map[string]string{kubeless.BuildLabel: "x"}); err == nil || !strings.Contains(err.Error(), "redoubt.dev/build and redoubt.dev/spare are on pods") {
		t.Errorf("a pod that pretends to build: %v", err)
	}
	if err := pod(own, map[string]string{kubeless.SpareLabel: "x"}); err == nil || !strings.Contains(err.Error(), "redoubt.dev/build and redoubt.dev/spare are on pods") {
		t.Errorf("a pod that pretends to be spare: %v", err)
	}
}

// The controllers make builds and spares, but no instance of a service that is one:
// its labels are what its owner chose.
func TestInstancesAreNoBuilds(t *testing.T) {
	ns := namespace(t)
	asController, asAdministrator := clientAs(t, "redoubt:controller"), clientAs(t, "")
	for _, label := range []string{kubeless.BuildLabel, kubeless.BuildRuntimeLabel, kubeless.SpareLabel} {
		pod := idle("runc")
		submit := func(as kubernetes.Interface) error {
			_, err := as.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		}
		pod.Labels = map[string]string{label: "x"}
		if err := submit(asController); err != nil {
			t.Errorf("the controllers' pod with %s: %v", label, err)
		}
		if err := submit(asAdministrator); err == nil || !strings.Contains(err.Error(), "the controllers make these") {
			t.Errorf("another pod with %s: %v", label, err)
		}
		pod.Labels[serving.RevisionUIDLabel] = "y"
		if err := submit(asController); err == nil || !strings.Contains(err.Error(), "are not on instances of services") {
			t.Errorf("an instance with %s: %v", label, err)
		}
	}
}

// An image that is there is not had by its ID, in any place of a pod: it could be
// what was built for another namespace.
func TestImagesAreNotGivenByID(t *testing.T) {
	ns := namespace(t)
	const id, refusal = "sha256:3f", "give the image's name"
	standing := create(t, ns, idle("runc")) // the control
	pods := shared.Cluster.CoreV1().Pods(ns)
	for what, change := range map[string]func(*corev1.PodSpec){
		"a container":       func(s *corev1.PodSpec) { s.Containers[0].Image = id },
		"an init container": func(s *corev1.PodSpec) { s.InitContainers = []corev1.Container{{Name: "i", Image: id}} },
		"a volume": func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: id}}}}
		},
	} {
		pod := idle("runc")
		change(&pod.Spec)
		if _, err := pods.Create(t.Context(), pod, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), refusal) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := pods.Patch(t.Context(), standing.Name, types.StrategicMergePatchType,
		[]byte(`{"spec": {"ephemeralContainers": [{"name": "e", "image": "`+id+`"}]}}`), metav1.PatchOptions{}, "ephemeralcontainers")
	if err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("an ephemeral container: %v", err)
	}
}

// The tool's own words say what is wrong, to who deploys and in the status.
func TestFunctionDependencyThatIsNot(t *testing.T) {
	ns := namespace(t)
	manifest := source(t, `{"dependencies": {"is-number": "99.99.99"}}`)
	_, err := shared.Try(t, "", "function", "-n", ns, "deploy", "num", "--runtime=nodejs", "--handler=app.greet", "--from-file="+source(t, fmt.Sprintf(isNumber, "")), "--dependencies="+manifest, "--runtime-class=runc")
	if err == nil || !all(err.Error(), "the build failed", "No matching version found for is-number@99.99.99") {
		t.Errorf("deployed: %v", err)
	}
	if out := function(t, ns, "describe", "num"); !all(out, "BuildFailed", "is-number@99.99.99") {
		t.Errorf("the description is %q", out)
	}
}

// wheel is a Python package of one module.
func wheel(t *testing.T, name, code string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	info := name + "-1.0.dist-info/"
	for file, text := range map[string]string{
		name + ".py": code, info + "METADATA": "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n",
		info + "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", info + "RECORD": "",
	} {
		f, err := w.Create(file)
		if err == nil {
			_, err = f.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// requirements.txt is installed from the index that the function names, here one
// of its own namespace.
func TestFunctionRequirements(t *testing.T) {
	ns := namespace(t)
	shared.Redoubt(t, "function", "prepare", "python3")
	const file = "greeting-1.0-py3-none-any.whl"
	labels := map[string]string{"app": "index"}
	objects := []any{
		&corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: "index", Namespace: ns},
			BinaryData: map[string][]byte{file: wheel(t, "greeting", "word = 'Hello'\n")}},
		&corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: "index", Namespace: ns},
			Spec: corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 8000}}}},
		&corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "index", Namespace: ns, Labels: labels},
			Spec: corev1.PodSpec{
				Containers: []corev1.Container{{
					Name: "index", Image: "localhost/redoubt/python3:latest", Command: []string{"/usr/bin/python3", "-m", "http.server", "8000", "--directory", "/index"},
					VolumeMounts: []corev1.VolumeMount{{Name: "index", MountPath: "/index"}},
				}},
				Volumes: []corev1.Volume{{Name: "index", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
					LocalObjectReference: corev1.LocalObjectReference{Name: "index"}, Items: []corev1.KeyToPath{{Key: file, Path: "simple/greeting/" + file}},
				}}}},
			}},
	}
	for _, o := range objects {
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		shared.Apply(t, string(text))
	}
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "pod/index", "--timeout=90s")
	function(t, ns, "deploy", "hi", "--runtime=python3", "--handler=app.greet", "--runtime-class=runc",
		"--from-file="+source(t, "import greeting\ndef greet(event, context):\n    return greeting.word + ' ' + event['data']\n"),
		"--dependencies="+source(t, "greeting==1.0\n"), "--env=PIP_INDEX_URL=http://index:8000/simple", "--env=PIP_TRUSTED_HOST=index")
	if out := function(t, ns, "call", "hi", "-d", "you"); out != "Hello you" {
		t.Errorf("the function answered %q", out)
	}
}

// A source above the size of an object becomes a layer of the function's image,
// with what it depends on; what it was before leaves nothing behind.
func TestFunctionOfLargeSource(t *testing.T) {
	ns := namespace(t)
	dir := t.TempDir()
	data := make([]byte, 3_000_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("data", data)
	write("app", []byte("#!/bin/bash\nsha256sum < \"${0%/*}/data\"\n"))
	function(t, ns, "deploy", "sum", "--runtime=binary", "--handler=app.stdio", "--from-file="+dir, "--runtime-class=gvisor")
	parts := func() []string {
		return strings.Fields(shared.Kubectl(t, "-n", ns, "get", "configmaps", "-l", kubeless.PartLabel+"=sum", "-o", "name"))
	}
	if out, want := function(t, ns, "call", "sum"), fmt.Sprintf("%x", sha256.Sum256(data)); !strings.HasPrefix(out, want) {
		t.Errorf("the function answered %q, want %s", out, want)
	}
	if n := len(parts()); n != 4 {
		t.Errorf("there are %d parts", n)
	}
	write("data", []byte("small"))
	function(t, ns, "update", "sum", "--from-file="+dir)
	if out, want := function(t, ns, "call", "sum"), fmt.Sprintf("%x", sha256.Sum256([]byte("small"))); !strings.HasPrefix(out, want) {
		t.Errorf("the changed function answered %q, want %s", out, want)
	}
	if left := parts(); len(left) != 0 {
		t.Errorf("there are still %v", left)
	}
}
