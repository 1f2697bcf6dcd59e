package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestBlockVolumes gives pods a device of the node's as a volume: what they write
// is on it, and from a read-only volume they only read. A machine has no other.
// One class after another, for a node has few such devices.
func TestBlockVolumes(t *testing.T) {
	for _, class := range classes(t) {
		if class != "gvisor" { // its refusal is in testdata/policy.yaml
			t.Run(class, func(t *testing.T) { blockVolume(t, class) })
		}
	}
}

func blockVolume(t *testing.T, class string) {
	const size = 16 << 20
	ns := namespace(t)
	device, file := loop(t, size)
	claim(t, ns, class, device, size)
	pod := running(t, create(t, ns, withDevice(t, class, false)))
	got := ask(t, pod, `wc -c < /dev/data; echo from `+class+` > /text; dd if=/text of=/dev/data bs=512 conv=fsync,notrunc 2>/dev/null; head -c 9 /dev/data`)
	if want := fmt.Sprintf("%d\nfrom %s", size, class)[:len(fmt.Sprint(size))+1+9]; got != want {
		t.Errorf("the pod says %q, want %q", got, want)
	}
	if data, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(data, []byte("from "+class+"\n")) {
		t.Errorf("the node's device begins with %.16q, %v", data, err)
	}
	if class == "microvm" {
		// The layer of the image and the volume.
		if disks := strings.Fields(ask(t, pod, "ls -d /sys/class/scsi_device/*")); len(disks) != 2 {
			t.Errorf("the machine has the disks %v", disks)
		}
	}
	empty(t, ns)
	pod = running(t, create(t, ns, withDevice(t, class, true)))
	got = ask(t, pod, `head -c 5 /dev/data; dd if=/dev/zero of=/dev/data bs=512 count=1 conv=fsync,notrunc 2>/dev/null && echo written`+" || echo refused")
	if got != "from refused" {
		t.Errorf("with a read-only volume the pod says %q", got)
	}
	if data, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(data, []byte("from "+class+"\n")) {
		t.Errorf("then the node's device begins with %.16q, %v", data, err)
	}
	empty(t, ns)
}

// loop is a device of the node's, on a file, until the test ends.
func loop(t *testing.T, size int64) (device, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v: %s", err, out)
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("losetup: %v: %s", err, out)
		}
	})
	return device, file
}

// claim makes a device a volume that is a namespace's.
func claim(t *testing.T, ns, class, device string, size int64) {
	t.Helper()
	name := "block-" + class
	shared.Apply(t, fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolume, metadata: {name: %[1]s}, spec: {capacity: {storage: %[2]d}, volumeMode: Block, accessModes: [ReadWriteOnce],
  persistentVolumeReclaimPolicy: Retain, storageClassName: "", claimRef: {namespace: %[3]s, name: data}, local: {path: %[4]s},
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [linux]}]}]}}}}`, name, size, ns, device))
	t.Cleanup(func() {
		if err := shared.Cluster.CoreV1().PersistentVolumes().Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	shared.Apply(t, fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: %s}, spec: {volumeMode: Block, accessModes: [ReadWriteOnce],
  storageClassName: "", volumeName: %s, resources: {requests: {storage: %d}}}}`, ns, name, size))
}

// withDevice is a pod with every right that has the claim.
func withDevice(t *testing.T, class string, readOnly bool) *corev1.Pod {
	pod := shellPod(shell(t), class)
	pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data", ReadOnly: readOnly},
	}}}
	c := &pod.Spec.Containers[0]
	c.VolumeDevices = []corev1.VolumeDevice{{Name: "data", DevicePath: "/dev/data"}}
	if class == "microvm" {
		c.SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	}
	return pod
}
