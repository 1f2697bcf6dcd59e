package test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"redoubt.dev/redoubt/internal/cri"
	"redoubt.dev/redoubt/internal/thread"
	"redoubt.dev/redoubt/test/platform"
)

// stock is a containerd that Redoubt did not start: the engine's, or the one that
// REDOUBT_TEST_CONTAINERD names.
type stock struct {
	dir, bin string
	client   runtime.RuntimeServiceClient
}

// TestStockContainerd has a containerd of its own make pods through the shim, in
// both of its ways: with a container that is the pod's own, and by asking the
// shim for a pod (the sandbox API).
func TestStockContainerd(t *testing.T) {
	needsMachines(t)
	s := startStock(t)
	for _, handler := range []string{"podsandbox", "shim"} {
		t.Run(handler, func(t *testing.T) { s.livesThrough(t, handler, "/"+shared.Inst.ID()) })
		t.Run(handler+" in a slice", func(t *testing.T) {
			if _, err := os.Stat("/run/systemd/system"); err == nil { // sd_booted(3)
				s.livesThrough(t, handler, "/redoubttest.slice/redoubttest-pod1.slice")
				return
			}
			config := s.config(handler, "/redoubttest.slice/redoubttest-pod1.slice")
			_, err := s.client.RunPodSandbox(t.Context(), &runtime.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
			if err == nil || !strings.Contains(err.Error(), "systemd") || !strings.Contains(err.Error(), "redoubttest-pod1.slice") {
				t.Errorf("without systemd, what is said of a pod in a slice is: %v", err)
			}
		})
	}
}

// startStock starts one in a network namespace of its own, with the shell's
// image. It ends with the test.
func startStock(t *testing.T) *stock {
	t.Helper()
	shell(t)
	program, err := platform.Program()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/run", "stock") // paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s := &stock{dir: dir, bin: filepath.Dir(program)}
	s.configure(t)
	s.start(t)
	client, conn, err := cri.Connect(s.socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s.client = client
	platform.Eventually(t, "containerd is ready", func() error {
		answer, err := client.Status(t.Context(), &runtime.StatusRequest{})
		for _, c := range answer.GetStatus().GetConditions() {
			if !c.Status && (c.Type == runtime.RuntimeReady || c.Type == runtime.NetworkReady) {
				err = errors.Join(err, fmt.Errorf("%s: %s", c.Type, c.Message))
			}
		}
		return err
	})
	s.copyImages(t)
	return s
}

func (s *stock) socket() string { return filepath.Join(s.dir, "containerd.sock") }

func (s *stock) configure(t *testing.T) {
	t.Helper()
	config, err := os.ReadFile("testdata/stock.toml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("$DIR", s.dir, "$ENGINE", filepath.Join(s.bin, "engine"), "$SHIM", filepath.Join(s.bin, "containerd-shim-redoubt-v2")).Replace(string(config))
	const network = `{"cniVersion": "1.0.0", "name": "stock", "plugins": [{"type": "ptp", "ipam":
		{"type": "host-local", "dataDir": "%s/ipam", "ranges": [[{"subnet": "192.0.2.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}`
	if err := errors.Join(
		os.WriteFile(filepath.Join(s.dir, "config.toml"), []byte(text), 0o600),
		os.Mkdir(filepath.Join(s.dir, "cni"), 0o700),
		os.WriteFile(filepath.Join(s.dir, "cni", "10-stock.conflist"), fmt.Appendf(nil, network, s.dir), 0o600),
	); err != nil {
		t.Fatal(err)
	}
}

func (s *stock) start(t *testing.T) {
	t.Helper()
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	program := cmp.Or(os.Getenv("REDOUBT_TEST_CONTAINERD"), filepath.Join(s.bin, "engine", "containerd"))
	cmd := exec.CommandContext(t.Context(), program, "--log-level=warn", "--address", s.socket(), "-c", filepath.Join(s.dir, "config.toml"))
	// The template of the instance will do.
	cmd.Env = append(os.Environ(), "REDOUBT_MICROVM_DIR="+shared.Inst.Data("microvm"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL, Setsid: true}
	ended, err := thread.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // it ends with the test's context
		<-ended
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("containerd says:\n%s", text)
		}
	})
}

// copyImages takes the shell's image, and that of pods' own containers, from the
// instance. An export that is not local ends when containerd has sent all of it,
// whether or not all of it is written.
func (s *stock) copyImages(t *testing.T) {
	t.Helper()
	archive := filepath.Join(s.dir, "images.tar")
	for _, args := range [][]string{
		{shared.Inst.ContainerdSocket(), "export", "--local", archive, shellImage, pauseImage},
		{s.socket(), "import", "--local", "--no-unpack", archive},
	} {
		cmd := exec.Command(filepath.Join(s.bin, "engine", "ctr"), append([]string{"-a", args[0], "-n", "k8s.io", "images"}, args[1:]...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", cmd, err, out)
		}
	}
}

const pauseImage = "localhost/redoubt/pause:latest"

// config is that of a pod whose control group is below parent.
func (s *stock) config(name, parent string) *runtime.PodSandboxConfig {
	return &runtime.PodSandboxConfig{
		Metadata: &runtime.PodSandboxMetadata{Name: name, Uid: name, Namespace: "stock"},
		Hostname: "box", LogDirectory: s.dir,
		DnsConfig: &runtime.DNSConfig{Servers: []string{"192.0.2.53"}, Searches: []string{"stock.example"}},
		Linux: &runtime.LinuxPodSandboxConfig{
			CgroupParent: parent,
			Resources:    &runtime.LinuxContainerResources{MemoryLimitInBytes: 200 << 20},
		},
	}
}

// livesThrough is a pod's life.
func (s *stock) livesThrough(t *testing.T, handler, parent string) {
	ctx, client := t.Context(), s.client
	config := s.config(handler, parent)
	pod, err := client.RunPodSandbox(ctx, &runtime.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	if err != nil {
		t.Fatal(err)
	}
	one, two := s.run(t, pod.PodSandboxId, "one", config), s.run(t, pod.PodSandboxId, "two", config)
	for _, q := range []struct{ container, command, want string }{
		{one, "hostname; cat /etc/hostname", "box\nbox"},
		{one, "cat /etc/resolv.conf", "search stock.example\nnameserver 192.0.2.53"},
		{one, "grep -c '^127.0.0.1.*localhost' /etc/hosts; ip -4 -o addr show eth0 | grep -c 192.0.2.", "1\n1"},
		{one, "echo shared > /dev/shm/x && grep ' /dev/shm ' /proc/mounts | wc -l", "1"},
		{two, "cat /dev/shm/x; (nc -l -p 81 -e /bin/echo hello > /dev/null 2>&1 &); echo /proc/[0-9]* | wc -w | grep -c '^[1-9]$'", "shared\n1"},
		{one, "until nc 127.0.0.1 81 < /dev/null; do sleep 0.1; done", "hello"},
	} {
		if got := s.ask(t, q.container, q.command); got != q.want {
			t.Errorf("%s: %q, want %q", q.command, got, q.want)
		}
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err != nil || s.ask(t, one, "uname -r") == strings.TrimSpace(string(release)) {
		t.Errorf("the pod has the node's kernel %s, %v", release, err)
	}
	s.is(t, pod.PodSandboxId, runtime.PodSandboxState_SANDBOX_READY)
	if stats, err := client.PodSandboxStats(ctx, &runtime.PodSandboxStatsRequest{PodSandboxId: pod.PodSandboxId}); err != nil || len(stats.Stats.GetLinux().GetContainers()) != 2 {
		t.Errorf("statistics: %v, %v", stats, err)
	}
	// One container ends; the pod and the other go on.
	if _, err := client.StopContainer(ctx, &runtime.StopContainerRequest{ContainerId: one}); err != nil {
		t.Error(err)
	}
	if got := s.ask(t, two, "echo there"); got != "there" {
		t.Errorf("the other container: %q", got)
	}
	machine := shimOfSandbox(t, pod.PodSandboxId).machine(t)
	if groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", machine)); err != nil || !strings.Contains(string(groups), parent+"/") {
		t.Errorf("the machine is not below %s: %s, %v", parent, groups, err)
	}
	// The machine ends, and with it the pod.
	if err := syscall.Kill(machine, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	s.is(t, pod.PodSandboxId, runtime.PodSandboxState_SANDBOX_NOTREADY)
	if _, err := client.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: pod.PodSandboxId}); err != nil {
		t.Error(err)
	}
	if _, err := client.RemovePodSandbox(ctx, &runtime.RemovePodSandboxRequest{PodSandboxId: pod.PodSandboxId}); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(s.dir, "state", "*", "k8s.io", pod.PodSandboxId)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, hierarchy := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		if left, err := filepath.Glob(hierarchy + parent + "/*" + pod.PodSandboxId + "*"); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}

// run starts one of the pod's containers, which waits to be asked.
func (s *stock) run(t *testing.T, pod, name string, config *runtime.PodSandboxConfig) string {
	t.Helper()
	options := &runtime.NamespaceOption{Pid: runtime.NamespaceMode_CONTAINER}
	created, err := s.client.CreateContainer(t.Context(), &runtime.CreateContainerRequest{PodSandboxId: pod, SandboxConfig: config, Config: &runtime.ContainerConfig{
		Metadata: &runtime.ContainerMetadata{Name: name},
		Image:    &runtime.ImageSpec{Image: shellImage},
		Command:  []string{"/bin/sh", "-c", "trap exit TERM; while :; do sleep 1; done"},
		LogPath:  name + ".log",
		Linux:    &runtime.LinuxContainerConfig{SecurityContext: &runtime.LinuxContainerSecurityContext{NamespaceOptions: options}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.StartContainer(t.Context(), &runtime.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		t.Fatal(err)
	}
	return created.ContainerId
}

// ask runs a shell command in a container and answers with what it prints.
func (s *stock) ask(t *testing.T, container, command string) string {
	t.Helper()
	answer, err := s.client.ExecSync(t.Context(), &runtime.ExecSyncRequest{ContainerId: container, Cmd: []string{"/bin/sh", "-c", command}})
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return strings.TrimSpace(string(answer.Stdout) + string(answer.Stderr))
}

// is waits until containerd says so of a pod.
func (s *stock) is(t *testing.T, pod string, want runtime.PodSandboxState) {
	t.Helper()
	platform.Eventually(t, "the pod is "+want.String(), func() error {
		answer, err := s.client.PodSandboxStatus(t.Context(), &runtime.PodSandboxStatusRequest{PodSandboxId: pod})
		if got := answer.GetStatus().GetState(); err == nil && got != want {
			err = errors.New("it is " + got.String())
		}
		return err
	})
}
