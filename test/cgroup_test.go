package test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// memoryLimit reads what the kernel lets a guaranteed pod of an instance use,
// on cgroup v1 and v2.
func memoryLimit(id string, pod *corev1.Pod) (int64, error) {
	group := filepath.Join(id, "kubepods", "pod"+string(pod.UID))
	for _, file := range []string{
		filepath.Join("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"),
		filepath.Join("/sys/fs/cgroup", group, "memory.max"),
	} {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	}
	return 0, fmt.Errorf("no control group of pod %s below %s", pod.Name, id)
}

// setFrozen stops or lets go on all processes of a pod of an instance, on cgroup
// v1 and v2, and does not wait until they have.
func setFrozen(id string, pod *corev1.Pod, frozen bool) error {
	group := filepath.Join(id, "kubepods", strings.ToLower(string(pod.Status.QOSClass)), "pod"+string(pod.UID))
	state, number := "THAWED", "0"
	if frozen {
		state, number = "FROZEN", "1"
	}
	err := os.WriteFile(filepath.Join("/sys/fs/cgroup/freezer", group, "freezer.state"), []byte(state), 0)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(filepath.Join("/sys/fs/cgroup", group, "cgroup.freeze"), []byte(number), 0)
	}
	return err
}

// isFrozen reads whether all processes of a pod of an instance stand still, on
// cgroup v1 and v2.
func isFrozen(id string, pod *corev1.Pod) (bool, error) {
	class := "besteffort"
	if pod.Status.QOSClass == corev1.PodQOSBurstable {
		class = "burstable"
	}
	group := filepath.Join(id, "kubepods", class, "pod"+string(pod.UID))
	for file, line := range map[string]string{
		filepath.Join("/sys/fs/cgroup/freezer", group, "freezer.state"): "FROZEN\n",
		filepath.Join("/sys/fs/cgroup", group, "cgroup.events"):         "frozen 1\n",
	} {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return strings.Contains(string(data), line), err
	}
	return false, fmt.Errorf("no control group of pod %s below %s", pod.Name, id)
}
