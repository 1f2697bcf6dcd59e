package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// machinePod is a pod of the class microvm with a machine of the smallest size.
func machinePod(image string) *corev1.Pod {
	pod := shellPod(image, "microvm")
	pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("48Mi")}
	return pod
}

// needsMachines ends a test where the node has no virtual machines.
func needsMachines(t *testing.T) {
	t.Helper()
	if !slices.Contains(classes(t), "microvm") {
		t.Fatal("the node does not offer the class microvm")
	}
}

// TestMachinesAreJailed looks from the node at the machines of two pods, of which
// one has a folder of the node's and the other says in annotations and labels
// what hypervisors obey elsewhere. The control is this test's own process, and
// for the arguments a pod whose limit asks for another size.
func TestMachinesAreJailed(t *testing.T) {
	needsMachines(t)
	ns, d := namespace(t), newDecoy(t)
	labelled, err := hostile(t, "machine", func(c *ocispec.ImageConfig) {
		c.Labels = map[string]string{"io.katacontainers.config.hypervisor.kernel_params": "init=/bin/sh", "redoubt.dev/microvm-qemu": "-s"}
	}, map[string]string{"io.katacontainers.config.hypervisor.path": "/bin/sh"})
	if err != nil {
		t.Fatal(err)
	}
	given := machinePod(shell(t))
	given.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: string(d)}}}}
	given.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	asking := machinePod(labelled)
	asking.Annotations = map[string]string{
		"io.katacontainers.config.hypervisor.path": "/bin/sh", "io.katacontainers.config.hypervisor.kernel_params": "init=/bin/sh",
		"io.katacontainers.config.hypervisor.default_vcpus": "64", "io.katacontainers.config.hypervisor.enable_debug": "true",
		"redoubt.dev/microvm-qemu": "-s -S", "io.kubernetes.cri.sandbox-memory": "1073741824",
	}
	large := machinePod(shellImage)
	large.Spec.Containers[0].Resources.Limits[corev1.ResourceMemory] = resource.MustParse("256Mi")
	pods := []*corev1.Pod{running(t, create(t, ns, given)), running(t, create(t, ns, asking)), running(t, create(t, ns, large))}
	users, arguments := map[string]bool{}, make([]string, len(pods))
	for i, pod := range pods {
		proc := fmt.Sprintf("/proc/%d", shimOf(t, pod).machine(t))
		user, err := confined(proc)
		if err != nil {
			t.Errorf("machine %d: %v", i, err)
		}
		users[user] = true
		line, err := os.ReadFile(proc + "/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		arguments[i] = string(line)
	}
	if len(users) != len(pods) {
		t.Errorf("%d machines run as the users %v", len(pods), users)
	}
	if arguments[0] != arguments[1] {
		t.Errorf("annotations and labels change a machine from\n%q to\n%q", arguments[0], arguments[1])
	}
	if arguments[0] == arguments[2] {
		t.Error("the control: a larger machine has the same arguments")
	}
	if _, err := confined("/proc/self"); err == nil {
		t.Error("the control: this test is confined like a machine")
	}
}

// confined says in which way the process of a machine is not, and as which user
// it runs.
func confined(proc string) (user string, err error) {
	var failed []error
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		return "", err
	}
	values := map[string]string{}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		values[name] = strings.Join(strings.Fields(value), " ")
	}
	for name, want := range map[string]string{
		"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "CapInh": "0000000000000000", "CapAmb": "0000000000000000",
		"NoNewPrivs": "1", "Seccomp": "2", "Groups": "",
	} {
		if values[name] != want {
			failed = append(failed, fmt.Errorf("%s is %q, want %q", name, values[name], want))
		}
	}
	user, _, _ = strings.Cut(values["Uid"], " ")
	if strings.Contains(" "+values["Uid"]+" "+values["Gid"]+" ", " 0 ") {
		failed = append(failed, fmt.Errorf("it runs as user %s, group %s", values["Uid"], values["Gid"]))
	}
	for _, kind := range []string{"mnt", "net", "pid", "ipc", "uts"} {
		theirs, err := os.Readlink(filepath.Join(proc, "ns", kind))
		ours, ourErr := os.Readlink(filepath.Join("/proc/self/ns", kind))
		if err != nil || ourErr != nil || theirs == ours {
			failed = append(failed, fmt.Errorf("its %s namespace is the node's (%v, %v)", kind, err, ourErr))
		}
	}
	for _, path := range []string{"/etc/passwd", "/usr/bin", "/proc/1", "/sys/fs/cgroup", "/run", "/var", "/home"} {
		if _, err := os.Stat(proc + "/root" + path); err == nil {
			failed = append(failed, fmt.Errorf("it sees the node's %s", path))
		}
	}
	return user, errors.Join(append(failed, filesOf(proc)...)...)
}

// filesOf says which files of the node's a machine's process could write.
func filesOf(proc string) (failed []error) {
	files, err := filepath.Glob(proc + "/fd/*")
	if err != nil || len(files) == 0 {
		return []error{fmt.Errorf("no open files in %s: %w", proc, err)}
	}
	disks := 0
	for _, file := range files {
		target, err := os.Readlink(file)
		if err != nil || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "/memfd:") || target == "/dev/net/tun" {
			continue
		}
		info, err := os.ReadFile(proc + "/fdinfo/" + filepath.Base(file))
		if err != nil {
			return []error{err}
		}
		_, flags, _ := strings.Cut(string(info), "flags:")
		mode, err := strconv.ParseInt(strings.Fields(flags)[0], 8, 64)
		if err != nil || mode&int64(os.O_WRONLY|os.O_RDWR) != 0 {
			failed = append(failed, fmt.Errorf("it holds %s open for writing (%w)", target, err))
		}
		if strings.Contains(target, "snapshotter") {
			disks++
		}
	}
	if disks == 0 {
		failed = append(failed, errors.New("it holds no image layer"))
	}
	return failed
}

// TestGuestsRootWritesNoLayer has a guest's root, with every right, take the
// read-only flag off its disks and write them. The control: what it reads there
// is the layer. That the file of a disk which may be written does change is a test
// of the hypervisor's.
func TestGuestsRootWritesNoLayer(t *testing.T) {
	needsMachines(t)
	ns := namespace(t)
	pod := machinePod(shell(t))
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	pod = running(t, create(t, ns, pod))
	layers := layersOf(t, fmt.Sprintf("/proc/%d", shimOf(t, pod).machine(t)))
	before := map[string]string{}
	for _, layer := range layers {
		before[layer] = md5(t, layer)
	}
	got := ask(t, pod, `for disk in /sys/class/scsi_device/*/device/block/*; do
			IFS=: read major minor < $disk/dev; node=/dev/disk-$major-$minor; mknod $node b $major $minor
			md5sum < $node
			/bin/busybox blockdev --setrw $node
			dd if=/dev/urandom of=$node bs=4096 count=4 conv=notrunc,fsync && echo written
		done 2>&1; echo tried`)
	for _, layer := range layers {
		if !strings.Contains(got, before[layer]) {
			t.Errorf("the control: the guest does not read %s: %s", layer, got)
		}
		if after := md5(t, layer); after != before[layer] {
			t.Errorf("the guest has changed %s: %s", layer, got)
		}
	}
	if strings.Contains(got, "written") {
		t.Errorf("a write to a layer succeeds: %s", got)
	}
}

// layersOf are the files behind a machine's disks.
func layersOf(t *testing.T, proc string) (layers []string) {
	t.Helper()
	files, err := filepath.Glob(proc + "/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if target, _ := os.Readlink(file); strings.Contains(target, "snapshotter") && !slices.Contains(layers, target) {
			layers = append(layers, target)
		}
	}
	if len(layers) == 0 {
		t.Fatalf("%s has no image layer open", proc)
	}
	return layers
}

// TestMachinesShareNoSecrets has a pod write something to its memory. It is in
// its machine, the control, and neither in another pod's nor in what machines are
// copied from.
func TestMachinesShareNoSecrets(t *testing.T) {
	needsMachines(t)
	ns := namespace(t)
	first, second := create(t, ns, machinePod(shell(t))), create(t, ns, machinePod(shellImage))
	first, second = running(t, first), running(t, second)
	// Two halves, so that the command line is not what is found.
	const half, other = "redoubt-test-secret-", "of-one-pod-alone"
	ask(t, first, `for n in 1 2 3 4 5 6 7 8; do for m in 1 2 3 4 5 6 7 8; do printf '%s' `+half+`; echo `+other+`; done; done > /dev/shm/secret; cat /dev/shm/secret | wc -c`)
	if !inMemory(t, shimOf(t, first).machine(t), half+other) {
		t.Fatal("the control: the secret is not in its own machine's memory")
	}
	if inMemory(t, shimOf(t, second).machine(t), half+other) {
		t.Error("the secret is in another machine's memory")
	}
	templates, err := filepath.Glob(shared.Inst.Data("microvm", "templates", "*", "root", "memory"))
	if err != nil || len(templates) == 0 {
		t.Fatalf("no template: %v", err)
	}
	for _, template := range templates {
		f, err := os.Open(template)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if contains(f, 0, info.Size(), half+other) {
			t.Errorf("the secret is in %s", template)
		}
		_ = f.Close()
	}
}

// inMemory looks for text in what a process has mapped of its machine's memory.
func inMemory(t *testing.T, pid int, text string) bool {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	searched := 0
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[5] != "/memory" {
			continue
		}
		searched++
		if strings.HasSuffix(fields[1], "s") {
			t.Errorf("the machine's memory is shared: %s", line)
		}
		var start, end int64
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &start, &end); err != nil {
			t.Fatal(err)
		}
		if contains(memory, start, end-start, text) {
			return true
		}
	}
	if searched == 0 {
		t.Fatalf("the machine %d maps no template", pid)
	}
	return false
}

// contains reads in pieces, of which each begins with the end of the one before.
func contains(r io.ReaderAt, from, size int64, text string) bool {
	piece := make([]byte, 4<<20)
	for at := int64(0); at < size; at += int64(len(piece) - len(text)) {
		n, _ := r.ReadAt(piece[:min(int64(len(piece)), size-at)], from+at)
		if bytes.Contains(piece[:n], []byte(text)) {
			return true
		}
	}
	return false
}
