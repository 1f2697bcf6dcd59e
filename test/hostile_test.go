package test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/internal/image/oci"
	"redoubt.dev/redoubt/internal/image/store"
	"redoubt.dev/redoubt/test/platform"
)

// decoy is a folder of the node's with a file that no pod is to read, and in
// which none is to make another.
type decoy string

const secretOfTheNode = "the node's own"

func newDecoy(t *testing.T) decoy {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "redoubt-decoy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := errors.Join(os.WriteFile(dir+"/marker", []byte(secretOfTheNode), 0o666), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	return decoy(dir)
}

// untouched says what was done to the folder.
func (d decoy) untouched() error {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	marker, err := os.ReadFile(filepath.Join(string(d), "marker"))
	if err != nil || !slices.Equal(names, []string{"marker"}) || string(marker) != secretOfTheNode {
		return fmt.Errorf("the node's folder has %q, and in the marker %q (%v)", names, marker, err)
	}
	return nil
}

// reach is a script that tries to read and write the folder from wherever it
// starts.
func (d decoy) reach() string {
	return fmt.Sprintf(`for at in "" . .. ../.. ../../.. ../../../.. ../../../../.. ../../../../../.. ../../../../../../../.. /dev /etc /out; do
	cat "$at%[1]s/marker" "$at/marker" 2>/dev/null; { echo x > "$at%[1]s/touched"; echo x > "$at/touched"; } 2>/dev/null
done; echo tried`, string(d))
}

// given is a pod that is given the folder: what deliberately lets it in.
func (d decoy) given(class string, command string) *corev1.Pod {
	pod := shellPod(shellImage, class)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: string(d)}}}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: string(d)}}
	pod.Spec.Containers[0].Command = []string{"/bin/sh", "-c", command}
	return pod
}

// images opens the node's store, until the test ends.
func images(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), shared.Inst.ContainerdSocket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// hostile stores the shell's image with other settings, annotations of its
// manifest, and further files in a layer of their own. The error is that of the
// store, which may refuse it.
func hostile(t *testing.T, name string, change func(*ocispec.ImageConfig), annotations map[string]string, files ...tar.Header) (string, error) {
	t.Helper()
	s := images(t)
	image, err := s.Read(t.Context(), shell(t))
	if err != nil {
		t.Fatal(err)
	}
	settings, layers := image.Settings, slices.Clone(image.Layers)
	if change != nil {
		change(&settings.Config)
	}
	if len(files) > 0 {
		layers = append(layers, layerOf(t, files))
	}
	if image, err = oci.New(settings, layers...); err != nil {
		t.Fatal(err)
	}
	if annotations != nil {
		image.Manifest = annotated(t, image.Manifest, annotations)
	}
	name = "localhost/redoubt-test/hostile-" + name + ":latest"
	return name, s.Add(t.Context(), name, image, store.Options{})
}

func layerOf(t *testing.T, files []tar.Header) oci.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range files {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return oci.Layer{Blob: oci.FromBytes(ocispec.MediaTypeImageLayer, b.Bytes()), DiffID: digest.FromBytes(b.Bytes())}
}

func annotated(t *testing.T, manifest oci.Blob, annotations map[string]string) oci.Blob {
	t.Helper()
	r, err := manifest.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	m.Annotations = annotations
	if data, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return oci.FromBytes(manifest.Descriptor.MediaType, data)
}

// fates waits until each container of a pod, none of which runs for long, has
// ended or was refused. It answers with what each one printed, or why it did not
// start after "refused: ".
func fates(t *testing.T, pod *corev1.Pod) map[string]string {
	t.Helper()
	said := map[string]string{}
	platform.Eventually(t, "pod "+pod.Name+" meets its fate", func() error {
		now, err := shared.Cluster.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range now.Status.ContainerStatuses {
			if refused, known := fate(c.State); known {
				said[c.Name] = refused
			}
		}
		if now.Status.Phase == corev1.PodPending {
			events, err := shared.Cluster.CoreV1().Events(pod.Namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=FailedCreatePodSandBox,involvedObject.uid=" + string(now.UID)})
			if err != nil {
				return err
			}
			for _, c := range pod.Spec.Containers {
				for _, e := range events.Items {
					said[c.Name] = "refused: " + e.Message
				}
			}
		}
		if len(said) < len(pod.Spec.Containers) {
			return fmt.Errorf("%d of %d have: %+v", len(said), len(pod.Spec.Containers), now.Status.ContainerStatuses)
		}
		return nil
	})
	for name, refused := range said {
		if refused == "" {
			said[name] = shared.Kubectl(t, "-n", pod.Namespace, "logs", pod.Name, "-c", name)
		}
	}
	return said
}

// fate says why a container was refused, empty where it ran, once that is known.
func fate(s corev1.ContainerState) (refused string, known bool) {
	switch {
	case s.Terminated != nil && s.Terminated.Reason == "StartError":
		return "refused: " + s.Terminated.Message, true
	case s.Terminated != nil:
		return "", true
	case s.Waiting != nil && (strings.HasSuffix(s.Waiting.Reason, "Error") || s.Waiting.Reason == "InvalidImageName"):
		return "refused: " + s.Waiting.Reason + ": " + s.Waiting.Message, true
	}
	return "", false
}
