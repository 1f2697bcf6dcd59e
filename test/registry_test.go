package test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/image/archive"
	"redoubt.dev/redoubt/internal/image/oci"
	"redoubt.dev/redoubt/test/platform"
)

// Pods pull from a real registry on the host's loopback. Each part has a
// registry of its own, and images that the node has not seen.
func TestRegistry(t *testing.T) {
	program := platform.BuildRegistry(t)
	image := pulled(t)
	t.Run("plain HTTP", func(t *testing.T) {
		r := platform.StartRegistry(t, program, false)
		configure(t, r.Host, "")
		name := r.Push(t, image, "team/plain", "v1")
		runs(t, namespace(t), puller(name))
	})
	t.Run("mirror", func(t *testing.T) {
		r := platform.StartRegistry(t, program, false)
		const host = "registry.example.test"
		configure(t, host, fmt.Sprintf("server = \"https://%s\"\n[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", host, r.Host))
		r.Push(t, image, "team/mirrored", "v1")
		runs(t, namespace(t), puller(host+"/team/mirrored:v1"))
	})
	t.Run("no such image", func(t *testing.T) {
		r := platform.StartRegistry(t, program, false)
		configure(t, r.Host, "")
		fails(t, namespace(t), puller(r.Host+"/team/away:v1"), "/team/away:v1", "not found")
	})
	t.Run("pull secrets", func(t *testing.T) {
		r := platform.StartRegistry(t, program, true)
		configure(t, r.Host, "")
		pullSecrets(t, r, r.Push(t, image, "team/private", "v1"))
	})
	t.Run("credentials of the node", func(t *testing.T) {
		r := platform.StartRegistry(t, program, true)
		basic := base64.StdEncoding.EncodeToString([]byte(platform.User + ":" + platform.Password))
		configure(t, r.Host, fmt.Sprintf("[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n  [host.\"http://%[1]s\".header]\n    authorization = \"Basic %[2]s\"\n", r.Host, basic))
		runs(t, namespace(t), puller(r.Push(t, image, "team/node", "v1")))
	})
}

// pullSecrets: who has the right secret runs the image, everybody else is
// told that access is denied, even once it is on the node.
func pullSecrets(t *testing.T, r *platform.Registry, name string) {
	ns := namespace(t)
	for secret, password := range map[string]string{"right": platform.Password, "wrong": "open barley"} {
		shared.Kubectl(t, "-n", ns, "create", "secret", "docker-registry", secret, "--docker-server="+r.Host,
			"--docker-username="+platform.User, "--docker-password="+password)
	}
	with := func(secret string) *corev1.Pod {
		pod := puller(name)
		pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: secret}}
		return pod
	}
	fails(t, ns, puller(name), "authoriz")
	fails(t, ns, with("wrong"), "401 Unauthorized")
	runs(t, ns, with("right"))
	// The kubelet remembers whose secret pulled the image.
	present := puller(name)
	present.Spec.Containers[0].ImagePullPolicy = corev1.PullIfNotPresent
	fails(t, ns, present, "authoriz")
}

// Where the host's name server is on its loopback, as systemd-resolved's is,
// containerd finds the cluster's there.
func TestNameServerOnTheLoopback(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return netns.Dial(ctx, shared.Inst.NetNS(), network, "127.0.0.53:53")
		}}
		addresses, err := resolver.LookupHost(t.Context(), "kubernetes.default.svc.cluster.local.")
		if err != nil || len(addresses) != 1 {
			t.Errorf("%s: %q, %v", network, addresses, err)
		}
	}
}

// pulled is an image that the node has not. The kubelet remembers of a content
// how it was pulled, and would ask a registry for any other name of it.
func pulled(t *testing.T) *oci.Image {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	shared.Redoubt(t, "image", "build", "localhost/redoubt-test/pulled:v1", "--binary=/usr/bin/busybox", "--user=0", "--entrypoint=[]",
		"--file=/usr/bin/busybox:/bin/busybox", "--link=/bin/sh=busybox", "--link=/bin/sleep=busybox", "--label=from=registry", "--save", file)
	images, closer, err := archive.Read(file, t.TempDir(), archive.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closer.Close() })
	return images[0].Image
}

// configure writes the settings of one registry, where the operator would.
func configure(t *testing.T, host, settings string) {
	t.Helper()
	dir := shared.Inst.Data("registries", host)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
}

// puller is a pod that asks the registry at every start.
func puller(image string) *corev1.Pod {
	pod := shellPod(image, "runc")
	pod.GenerateName = "puller-"
	pod.Spec.Containers[0].ImagePullPolicy = corev1.PullAlways
	return pod
}

func runs(t *testing.T, ns string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	pod = create(t, ns, pod)
	platform.Eventually(t, "running", func() error {
		now, err := shared.Cluster.CoreV1().Pods(ns).Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if now.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("%s: %+v", now.Status.Phase, now.Status.ContainerStatuses)
		}
		pod = now
		return nil
	})
	return pod
}

// fails sees that a pod's image is not pulled, that an event says each of the
// parts, and that no container was made.
func fails(t *testing.T, ns string, pod *corev1.Pod, parts ...string) {
	t.Helper()
	pod = create(t, ns, pod)
	platform.Eventually(t, "event of the failed pull", func() error {
		now, err := shared.Cluster.CoreV1().Pods(ns).Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range now.Status.ContainerStatuses {
			if c.State.Running != nil || c.ContainerID != "" {
				t.Fatalf("a container was made: %+v", c)
			}
			if w := c.State.Waiting; w == nil || w.Reason != "ErrImagePull" && w.Reason != "ImagePullBackOff" {
				return fmt.Errorf("the container's state is %+v", c.State)
			}
		}
		events, err := shared.Cluster.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=Failed,involvedObject.name=" + pod.Name})
		if err != nil {
			return err
		}
		var said []string
		for _, e := range events.Items {
			if all(e.Message, parts...) {
				return nil
			}
			said = append(said, e.Message)
		}
		return fmt.Errorf("no event says %q: %q", parts, said)
	})
}

func all(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
