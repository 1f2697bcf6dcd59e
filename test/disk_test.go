package test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/test/platform"
)

// TestTenantsDisk lets pods of a tenant write more than their limit: the kubelet
// ends them. The control writes the same within its limit, and goes on. Who
// names no limit gets one, and no limit exceeds the quota.
func TestTenantsDisk(t *testing.T) {
	const name = "tenant-disk"
	for _, class := range classes(t) {
		running(t, create(t, namespace(t), idle(class))) // the kubelet looks at nobody where it cannot at one
	}
	most := resource.MustParse("4Gi")
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor", AllowEmulatedVM: true, Quota: redoubt.TenantQuota{EphemeralStorage: &most}})
	silent := create(t, name, idle(""))
	if got := silent.Spec.Containers[0].Resources.Limits[corev1.ResourceEphemeralStorage]; got.String() != "1Gi" {
		t.Errorf("a container that names no limit may write %v", got.String())
	}
	mustForbid(t, name, filling(t, "gvisor", "true", "5Gi"), "exceeded quota", "limits.ephemeral-storage")
	for where, script := range map[string]string{
		"volume":      "dd if=/dev/zero of=/data/big bs=1M count=40",
		"file system": "dd if=/dev/zero of=/big bs=1M count=40",
		"log":         "dd if=/dev/zero bs=1M count=40 | tr '\\0' 'x'",
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			within := create(t, name, filling(t, "gvisor", script, "256Mi"))
			evicted(t, create(t, name, filling(t, "gvisor", script, "8Mi")))
			if now := running(t, within); now.Status.ContainerStatuses[0].RestartCount != 0 {
				t.Errorf("what stays within its limit is started again: %v", now.Status.ContainerStatuses)
			}
		})
	}
}

// filling is a pod that runs a script, and may write as much as limit.
func filling(t *testing.T, class, script, limit string) *corev1.Pod {
	pod := shellPod(shell(t), class)
	c := &pod.Spec.Containers[0]
	c.Command = []string{"/bin/sh", "-c", script + "; while :; do sleep 3600; done"}
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse(limit)}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	return pod
}

// evicted waits until the kubelet has ended a pod for what it takes of the disk.
func evicted(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	platform.Eventually(t, "pod "+pod.Name+" is evicted", func() error {
		now, err := shared.Cluster.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err == nil && (now.Status.Phase != corev1.PodFailed || now.Status.Reason != "Evicted") {
			err = fmt.Errorf("it is %s: %s", now.Status.Phase, now.Status.Reason)
		}
		return err
	})
}
