package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/internal/cri"
	"redoubt.dev/redoubt/test/platform"
)

// stored are the names in the node's store.
func stored(t *testing.T) []string {
	t.Helper()
	return strings.Fields(shared.Redoubt(t, "image", "ls", "-o", "name"))
}

// archives are an image in each form that is imported, by its file.
func archives(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	oci := filepath.Join(dir, "oci.tar")
	shared.Redoubt(t, "image", "save", shell(t), oci)
	data, err := os.ReadFile(oci)
	if err != nil {
		t.Fatal(err)
	}
	docker := without(t, data, "index.json", "oci-layout")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(docker); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	files := map[string]string{"oci": oci}
	for name, data := range map[string][]byte{"docker": docker, "gzip": packed.Bytes()} {
		files[name] = filepath.Join(dir, name)
		if err := os.WriteFile(files[name], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// without is a tar file without some of its files.
func without(t *testing.T, data []byte, names ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(names, h.Name) {
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestImageImport(t *testing.T) {
	for form, file := range archives(t) {
		source, stdin := file, ""
		if form != "oci" { // the others come through a pipe
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source, stdin = "-", string(data)
		}
		name := "localhost/redoubt-test/" + form + ":latest"
		out, err := shared.Try(t, stdin, "image", "import", source, "--as", name, "-o", "name")
		if err != nil {
			t.Fatal(err)
		}
		if out != name+"\n" || !slices.Contains(stored(t), name) {
			t.Errorf("%s: printed %q; stored are %q", form, out, stored(t))
		}
		shared.Redoubt(t, "image", "rm", name)
		if slices.Contains(stored(t), name) {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestImageImportRefuses(t *testing.T) {
	dir := t.TempDir()
	data, err := os.ReadFile(archives(t)["gzip"])
	if err != nil {
		t.Fatal(err)
	}
	before := stored(t)
	for says, try := range map[string]struct{ file, stdin string }{
		"it is empty":        {"-", ""},
		"no tar file":        {"-", strings.Repeat("this is no archive ", 100)},
		"cut off":            {"-", string(data[:len(data)/2])},
		"it is a folder":     {dir, ""},
		"no such file":       {filepath.Join(dir, "away.tar"), ""},
		"neither index.json": {"-", string(without(t, nil))},
	} {
		_, err := shared.Try(t, try.stdin, "image", "import", try.file, "--as", "localhost/redoubt-test/bad:v1")
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	if after := stored(t); !slices.Equal(before, after) {
		t.Errorf("the store changed from %q to %q", before, after)
	}
}

func TestImagesImportAtOnce(t *testing.T) {
	file := archives(t)["docker"]
	names := []string{"localhost/redoubt-test/once:a", "localhost/redoubt-test/once:b", "localhost/redoubt-test/once:a"}
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			if out, err := shared.Command(t.Context(), "image", "import", file, "--as", name).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	shared.Redoubt(t, "image", "rm", names[0], names[1])
}

// TestImageIsKept imports an image that no registry has: it stays where the kubelet
// frees disk, under each of its names, until it is removed. Every pod needs the
// one that holds its namespaces.
func TestImageIsKept(t *testing.T) {
	name, tag := "localhost/redoubt-test/kept:latest", "localhost/redoubt-test/kept:again"
	shared.Redoubt(t, "image", "build", name, "--binary=/usr/bin/busybox", "--label=kept=this")
	shared.Redoubt(t, "image", "tag", name, tag)
	_, kubelets, err := cri.Connect(shared.Inst.ContainerdSocket())
	if err != nil {
		t.Fatal(err)
	}
	defer kubelets.Close()
	for _, kept := range []string{name, tag, cluster.PauseImage} {
		resp, err := runtime.NewImageServiceClient(kubelets).ImageStatus(t.Context(), &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: kept}})
		if err != nil || !resp.GetImage().GetPinned() {
			t.Errorf("the kubelet may remove %s: %v, %v", kept, resp, err)
		}
	}
	shared.Redoubt(t, "image", "rm", name, tag)
	if _, err := shared.Try(t, "", "image", "rm", cluster.PauseImage); err == nil || !strings.Contains(err.Error(), "every pod of this node needs") {
		t.Errorf("removing what every pod needs: %v", err)
	}
}

func TestImageListForms(t *testing.T) {
	name := shell(t)
	var list []struct{ Name, ID, Digest, Platform string }
	if err := json.Unmarshal([]byte(shared.Redoubt(t, "image", "ls", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	found := slices.IndexFunc(list, func(i struct{ Name, ID, Digest, Platform string }) bool { return i.Name == name })
	if found < 0 || !strings.HasPrefix(list[found].ID, "sha256:") || list[found].Platform == "" {
		t.Errorf("%s is listed as %+v", name, list)
	}
	for form, says := range map[string]string{"table": "AGE", "wide": list[found].Digest, "yaml": "name: " + name, "name": name} {
		if out := shared.Redoubt(t, "image", "ls", "-o", form); !strings.Contains(out, says) {
			t.Errorf("-o %s does not say %q: %s", form, says, out)
		}
	}
}

// A pod whose image is in the store alone runs, whatever policy Kubernetes
// fills in for its tag.
func TestImageWithoutRegistry(t *testing.T) {
	ns := namespace(t)
	name := "localhost/redoubt-test/used:latest"
	shared.Redoubt(t, "image", "import", archives(t)["oci"], "--as", name)
	again := shellPod(name, "runc")
	again.Spec.InitContainers = []corev1.Container{{Name: "init", Image: name, ImagePullPolicy: corev1.PullAlways, Command: []string{"/bin/sh", "-c", "true"}}}
	again.Spec.Containers[0].ImagePullPolicy = ""
	pod := runs(t, ns, again)
	if pod.Spec.Containers[0].ImagePullPolicy != corev1.PullIfNotPresent || pod.Spec.InitContainers[0].ImagePullPolicy != corev1.PullIfNotPresent {
		t.Errorf("the policies are %q and %q", pod.Spec.Containers[0].ImagePullPolicy, pod.Spec.InitContainers[0].ImagePullPolicy)
	}
	// The policy of an image that a registry has is its author's.
	elsewhere := shellPod("localhost:5000/app:latest", "runc")
	elsewhere.Spec.Containers[0].ImagePullPolicy = ""
	made, err := shared.Cluster.CoreV1().Pods(ns).Create(t.Context(), elsewhere, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil || made.Spec.Containers[0].ImagePullPolicy != corev1.PullAlways {
		t.Errorf("%v: the policy is %q", err, made.Spec.Containers[0].ImagePullPolicy)
	}
}

// An image does not go with its last name while a pod runs it.
func TestImageInUse(t *testing.T) {
	ns := namespace(t)
	name := "localhost/redoubt-test/single:v1"
	shared.Redoubt(t, "image", "build", name, "--binary=/usr/bin/busybox", "--link=/bin/sh=busybox", "--label=only=this")
	pod := shellPod(name, "runc")
	pod.Spec.Containers[0].Command = []string{"/busybox", "sleep", "3600"}
	pod = runs(t, ns, pod)
	if _, err := shared.Try(t, "", "image", "rm", name); err == nil || !all(err.Error(), "in use", pod.Name, "delete the pod first") {
		t.Errorf("removing an image in use: %v", err)
	}
	shared.Kubectl(t, "-n", ns, "delete", "pod", pod.Name, "--wait")
	platform.Eventually(t, "image removed", func() error {
		_, err := shared.Try(t, "", "image", "rm", name)
		return err
	})
	if _, err := shared.Try(t, "", "image", "rm", name); err == nil || !strings.Contains(err.Error(), "no such image") {
		t.Errorf("removing it again: %v", err)
	}
}

func TestImageBuild(t *testing.T) {
	ns := namespace(t)
	for name, args := range map[string][]string{
		"localhost/redoubt-test/go:latest":       {"--go=../internal/image/helloworld"},
		"localhost/redoubt-test/packages:latest": {"--package=busybox-static", "--link=/bin/sleep=busybox", "--cmd=/bin/sleep 3600"},
	} {
		if out := shared.Redoubt(t, append([]string{"image", "build", name, "-o", "name"}, args...)...); out != name+"\n" {
			t.Errorf("printed %q", out)
		}
		pod := shellPod(name, "runc")
		pod.Spec.Containers[0].Command = nil
		runs(t, ns, pod)
	}
}

func TestImageBuildRefuses(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	const failed, usage = 1, 2
	for _, test := range []struct {
		says string
		code int
		args []string
	}{
		{"not a Linux program", failed, []string{"localhost/x:v1", "--binary=" + script}},
		{"shared libraries", failed, []string{"localhost/x:v1", "--binary=/bin/ls"}},
		{"is a library", failed, []string{"localhost/x:v1", "--go=../internal/image/oci"}},
		{"is no name of a package", failed, []string{"localhost/x:v1", "--package=?essential"}},
		{"no name for an image", usage, []string{"UPPER", "--binary=" + script}},
		{"names a digest", usage, []string{"localhost/x@sha256:" + strings.Repeat("a", 64), "--binary=" + script}},
		{"exactly one of", usage, []string{"localhost/x:v1"}},
		{"exactly one of", usage, []string{"localhost/x:v1", "--binary=/bin/true", "--go=."}},
	} {
		out, err := shared.Command(t.Context(), append([]string{"image", "build"}, test.args...)...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != test.code || !strings.Contains(string(out), test.says) {
			t.Errorf("%q: %v, want %q and exit code %d: %s", test.args, err, test.says, test.code, out)
		}
	}
}
