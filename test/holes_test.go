package test

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"

	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/test/platform"
)

// These are holes that others had, each tried in every class, and each with a
// control: the same in a setup that was weakened on purpose.

// throughout is inEveryClass for tests that go on when all classes are done.
func throughout(t *testing.T, f func(t *testing.T, class, ns string)) {
	t.Helper()
	t.Run("classes", func(t *testing.T) { inEveryClass(t, f) })
}

// TestHostileImages runs images that were made to reach the node.
func TestHostileImages(t *testing.T) {
	d, setting := newDecoy(t), corePattern(t)
	up := strings.Repeat("/..", 12) + string(d)
	program := filepath.Join(string(d), "program") // what labels and annotations name; it would leave a trace
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}
	}
	plain := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	names := map[string]string{}
	for name, image := range map[string]struct {
		change      func(*ocispec.ImageConfig)
		annotations map[string]string
		files       []tar.Header
	}{
		// CVE-2022-23648: a volume of the image that climbs out of it.
		"volume": {change: func(c *ocispec.ImageConfig) { c.Volumes = map[string]struct{}{up: {}, string(d): {}} }},
		// CVE-2026-41579, CVE-2025-31133: folders of the system that lead elsewhere.
		"dev":    {files: []tar.Header{plain(".wh.dev"), link("dev", up)}},
		"etc":    {files: []tar.Header{plain(".wh.etc"), link("etc", up)}},
		"proc":   {files: []tar.Header{link("proc", up)}},
		"device": {files: []tar.Header{link("dev/null", "/proc/sys/kernel/core_pattern"), link("dev/pts", up)}},
		// CVE-2025-47290: a layer that follows its own link out.
		"layer":    {files: []tar.Header{link("out", up), plain("out/planted")}},
		"dots":     {files: []tar.Header{plain("../../../../../../../../.." + string(d) + "/planted")}},
		"hardlink": {files: []tar.Header{{Typeflag: tar.TypeLink, Name: "out", Linkname: string(d) + "/marker"}}},
		// CVE-2026-53488: labels that containerd's own plugins obey.
		"label": {change: func(c *ocispec.ImageConfig) {
			c.Labels = map[string]string{"containerd.io/restart.loguri": "binary://" + program, "containerd.io/restart.status": "running", "containerd.io/restart.policy": "always"}
		}},
		// CVE-2026-50195: an image that says it is a checkpoint.
		"checkpoint": {annotations: map[string]string{"org.criu.checkpoint.container.name": "restored", "org.criu.checkpoint.rootfsImageName": string(d)}},
	} {
		stored, err := hostile(t, name, image.change, image.annotations, image.files...)
		if err != nil {
			t.Logf("%s: the store refuses it: %v", name, err)
			continue
		}
		names[name] = stored
	}
	if err := d.untouched(); err != nil {
		t.Fatalf("an image was stored, and %v", err)
	}
	throughout(t, func(t *testing.T, class, ns string) {
		own := newDecoy(t)
		control := fates(t, create(t, ns, own.given(class, own.reach())))
		if !strings.Contains(control["idle"], secretOfTheNode) || own.untouched() == nil {
			t.Fatalf("the control, a pod that is given the folder, says %q, and %v", control, own.untouched())
		}
		pod := shellPod(shellImage, class)
		pod.Spec.RestartPolicy = corev1.RestartPolicyNever
		pod.Spec.Containers = nil
		for name, image := range names {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
				Name: name, Image: image, ImagePullPolicy: corev1.PullNever, Command: []string{"/bin/sh", "-c", d.reach()},
			})
		}
		// CVE-2024-21626: working folders that are open files of the runtime, which
		// has more of them where it is the node's.
		files := 10
		if class == "runc" {
			files = 64
		}
		for n := 3; n <= files; n++ {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
				Name: fmt.Sprintf("fd-%d", n), Image: shellImage, ImagePullPolicy: corev1.PullNever,
				WorkingDir: fmt.Sprintf("/proc/self/fd/%d", n), Command: []string{"/bin/sh", "-c", d.reach()},
			})
		}
		// CVE-2025-52881: volumes in the place of files that the runtime itself
		// writes to, with links that lead elsewhere.
		pod.Spec.Volumes = []corev1.Volume{{Name: "own", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		for i, place := range []string{"/proc", "/proc/self", "/proc/self/attr", "/proc/sys", "/sys", "/sys/fs/cgroup", "/dev", "/dev/pts"} {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
				Name: fmt.Sprintf("over-%d", i), Image: shellImage, ImagePullPolicy: corev1.PullNever,
				VolumeMounts: []corev1.VolumeMount{{Name: "own", MountPath: place}},
				Command: []string{"/bin/sh", "-c", fmt.Sprintf(`{ mkdir -p %[1]s/self/attr %[1]s/sys/kernel; for name in attr/exec self/attr/exec exec kernel/core_pattern sys/kernel/core_pattern null 0; do
					ln -s /proc/sys/kernel/core_pattern %[1]s/$name; done; } 2>/dev/null; %[2]s`, place, d.reach())},
			})
		}
		for name, said := range fates(t, create(t, ns, pod)) {
			if strings.Contains(said, secretOfTheNode) {
				t.Errorf("%s reads what is the node's: %q", name, said)
			}
			if !strings.HasPrefix(said, "refused: ") && !strings.Contains(said, "tried") {
				t.Errorf("%s neither ran nor was refused: %q", name, said)
			}
		}
		if err := d.untouched(); err != nil {
			t.Errorf("after the images ran, %v", err)
		}
	})
	if now := corePattern(t); now != setting {
		t.Errorf("the node's setting was %q, and is %q", setting, now)
	}
}

// corePattern is the setting of the node's that runs a program of its choice.
func corePattern(t *testing.T) string {
	t.Helper()
	now, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	return string(now)
}

// TestUserBeyondNumbers is CVE-2024-40635: a user whose number overflows is not
// root. The control is one whose number does not.
func TestUserBeyondNumbers(t *testing.T) {
	users := map[string]string{}
	for name, user := range map[string]string{"large": "2147483648:2147483648", "larger": "4294967296", "largest": "18446744073709551616:0", "usual": "1000:1000"} {
		stored, err := hostile(t, "user-"+name, func(c *ocispec.ImageConfig) { c.User = user }, nil)
		if err != nil {
			t.Fatal(err)
		}
		users[name] = stored
	}
	inEveryClass(t, func(t *testing.T, class, ns string) {
		pod := shellPod(shellImage, class)
		pod.Spec.RestartPolicy = corev1.RestartPolicyNever
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: &yes}
		pod.Spec.Containers = nil
		for name, image := range users {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
				Name: name, Image: image, ImagePullPolicy: corev1.PullNever, Command: []string{"/bin/sh", "-c", "id -u"},
			})
		}
		for name, said := range fates(t, create(t, ns, pod)) {
			if ran := strings.TrimSpace(said); (name == "usual") != (ran == "1000") || name != "usual" && !strings.HasPrefix(said, "refused: ") {
				t.Errorf("%s: %q", name, said)
			}
		}
	})
}

// TestProgramsOfTheNode is CVE-2019-5736: commands are run in a container whose
// programs lead to the program that starts them. The control, a container with the
// node's processes and every right, writes a file of the node's.
func TestProgramsOfTheNode(t *testing.T) {
	before := programs(t)
	throughout(t, func(t *testing.T, class, ns string) {
		pod := running(t, create(t, ns, shellPod(shellImage, class)))
		ask(t, pod, `/bin/busybox ln -s /proc/self/exe /bin/evil; (while :; do for exe in /proc/[0-9]*/exe; do [ "$(readlink $exe)" = /bin/busybox ] || { : >> $exe; } 2>/dev/null; done; done) </dev/null >/dev/null 2>&1 &
			echo started`)
		for range 5 {
			_, _ = shared.Try(t, "", "kubectl", "-n", ns, "exec", pod.Name, "--", "/bin/evil", "init")
		}
	})
	if after := programs(t); after != before {
		t.Errorf("the node's programs were %s, and are %s", before, after)
	}
	d := newDecoy(t)
	pod := shellPod(shell(t), "runc")
	pod.Spec.RestartPolicy, pod.Spec.HostPID = corev1.RestartPolicyNever, true
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	pod.Spec.Containers[0].Command = []string{"/bin/sh", "-c", "for root in /proc/[0-9]*/root; do echo x >> $root" + string(d) + "/marker && break; done 2>/dev/null; echo done"}
	if said := fates(t, create(t, namespace(t), pod)); d.untouched() == nil {
		t.Errorf("the control writes nothing: %q", said)
	}
}

// programs stand for the content of everything that runs pods.
func programs(t *testing.T) string {
	t.Helper()
	redoubt, err := platform.Program()
	if err != nil {
		t.Fatal(err)
	}
	engine, err := filepath.Glob(filepath.Join(filepath.Dir(redoubt), "engine", "*"))
	if err != nil {
		t.Fatal(err)
	}
	beside, err := filepath.Glob(filepath.Join(filepath.Dir(redoubt), "*"))
	if err != nil {
		t.Fatal(err)
	}
	guest, err := filepath.Glob(filepath.Join(filepath.Dir(redoubt), "guest", "*"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	for _, path := range slices.Concat(engine, beside, guest) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			_, err = io.Copy(sum, f)
			if err != nil {
				t.Fatal(err)
			}
		}
		_ = f.Close()
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// TestAnnotationsRunNothing is CVE-2020-27151: what a pod says in annotations that
// runtimes obey elsewhere names no program and no setting of the node's. The
// control is the program, run.
func TestAnnotationsRunNothing(t *testing.T) {
	d := newDecoy(t)
	script := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho x > "+string(d)+"/touched\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	said := []map[string]string{
		{
			"io.katacontainers.config.hypervisor.path": script, "io.katacontainers.config.hypervisor.jailer_path": script,
			"io.katacontainers.config.hypervisor.kernel": script, "io.katacontainers.config.hypervisor.kernel_params": "init=" + script,
			"org.systemd.property.ExecStartPre":    script,
			"io.containerd.runc.v2.group":          "shared",
			"containerd.io/restart.loguri":         "binary://" + script,
			"run.oci.hooks.stderr":                 string(d) + "/hooks",
			"run.oci.handler":                      script,
			"module.wasm.image/variant":            "compat",
			"io.kubernetes.cri.container-type":     "sandbox",
			"io.kubernetes.cri-o.userns-mode":      "host",
			"io.microvm.hypervisor":                script,
			"redoubt.dev/microvm-accelerator":      script,
			"io.kubernetes.cri.untrusted-workload": "false",
		},
		{
			"dev.gvisor.flag.debug": "true", "dev.gvisor.flag.debug-log": string(d) + "/", "dev.gvisor.flag.host-uds": "all",
			"dev.gvisor.internal.nvidia-driver-version": script,
		},
	}
	throughout(t, func(t *testing.T, class, ns string) {
		for _, annotations := range said {
			pod := shellPod(shellImage, class)
			pod.Annotations = annotations
			pod.Spec.RestartPolicy = corev1.RestartPolicyNever
			pod.Spec.Containers[0].Command = []string{"/bin/sh", "-c", "echo tried"}
			answer := fates(t, create(t, ns, pod))["idle"]
			if !strings.Contains(answer, "tried") && !strings.HasPrefix(answer, "refused: ") {
				t.Errorf("with %v the pod says %q", annotations, answer)
			}
		}
		if err := d.untouched(); err != nil {
			t.Error(err)
		}
	})
	if out, err := exec.CommandContext(t.Context(), script).CombinedOutput(); err != nil || d.untouched() == nil {
		t.Errorf("the control, the program itself: %v, %s", err, out)
	}
}

// TestShimsAreOutOfReach is CVE-2020-15257: no shim listens where a pod that
// shares the node's network could connect. The control listens there.
func TestShimsAreOutOfReach(t *testing.T) {
	const name = "redoubt-test-abstract"
	l, err := netns.Listen(shared.Inst.NetNS(), "unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ns := namespace(t)
	for _, class := range classes(t) {
		running(t, create(t, ns, shellPod(shell(t), class))) // so that there are shims
	}
	pod := shellPod(shellImage, "runc")
	pod.Spec.HostNetwork = true
	listening := ask(t, running(t, create(t, ns, pod)), "cat /proc/net/unix")
	if !strings.Contains(listening, "@"+name) {
		t.Fatalf("the control is not among\n%s", listening)
	}
	for line := range strings.SplitSeq(listening, "\n") {
		if strings.Contains(line, " @") && strings.Contains(line, "containerd-shim") {
			t.Errorf("a shim listens at %s", line)
		}
	}
}

// TestKubeletAnswersNobody is CVE-2025-46599: there is no read-only port, and
// nobody is answered without a certificate of the API server's, which is the
// control.
func TestKubeletAnswersNobody(t *testing.T) {
	ctx, node := t.Context(), shared.State.NodeIP.String()
	if conn, err := netns.Dial(ctx, shared.Inst.NetNS(), "tcp", net.JoinHostPort(node, "10255")); err == nil {
		_ = conn.Close()
		t.Error("port 10255 is open")
	}
	pki := func(name string) string { return shared.Inst.Data("pki", "cluster", name) }
	ca, err := os.ReadFile(pki("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	server, err := tls.LoadX509KeyPair(pki("kubelet-client.crt"), pki("kubelet-client.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		certificates []tls.Certificate
		status       int
	}{"nobody": {nil, http.StatusUnauthorized}, "the API server": {[]tls.Certificate{server}, http.StatusOK}} {
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: test.certificates},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return netns.Dial(ctx, shared.Inst.NetNS(), network, address)
			},
		}}
		for _, path := range []string{"/pods", "/metrics", "/runningpods/"} {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(node, "10250")+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != test.status {
				t.Errorf("%s gets %s: %s, want %d", name, path, resp.Status, test.status)
			}
		}
		client.CloseIdleConnections()
	}
}

// TestFoldersAreClosed is CVE-2024-25621: another user of the node lists nothing
// of the instance's, and goes nowhere below. Root, the control, does.
func TestFoldersAreClosed(t *testing.T) {
	list := func(dir string, user uint32) error {
		cmd := exec.CommandContext(t.Context(), "ls", dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		return cmd.Run()
	}
	dirs := []string{shared.Inst.DataDir, shared.Inst.Data("pki"), shared.Inst.Data("etcd"), shared.Inst.LogDir(), shared.Inst.RunDir(),
		filepath.Dir(shared.Inst.ContainerdSocket()), filepath.Dir(shared.Inst.RunDir())}
	for _, dir := range dirs {
		if err := list(dir, 0); err != nil {
			t.Errorf("root cannot list %s: %v", dir, err)
		}
		if list(dir, 65534) == nil {
			t.Errorf("anybody lists %s", dir)
		}
	}
}

// TestGuestsDiskIsNobodys is CVE-2020-2023 and CVE-2020-2025: a guest's root writes
// to the disks that its machine was given, of which it finds some. The next machine
// finds them as they were.
func TestGuestsDiskIsNobodys(t *testing.T) {
	if !slices.Contains(classes(t), "microvm") {
		return
	}
	before := programs(t)
	ns := namespace(t)
	pod := shellPod(shell(t), "microvm")
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	pod = running(t, create(t, ns, pod))
	disks := strings.Fields(ask(t, pod, "ls /sys/block"))
	if len(disks) == 0 {
		t.Fatal("the control: the machine shows no disk")
	}
	for _, disk := range disks {
		t.Logf("%s: %s", disk, ask(t, pod, `IFS=: read major minor < /sys/block/`+disk+`/dev; mknod /`+disk+` b $major $minor && echo made
			dd if=/dev/zero of=/`+disk+` bs=4096 count=64 conv=notrunc 2>&1 | tail -n 1`))
	}
	again := running(t, create(t, ns, shellPod(shellImage, "microvm")))
	if got := ask(t, again, "echo works; md5sum < /bin/busybox"); !strings.HasPrefix(got, "works\n"+md5(t, "/usr/bin/busybox")) {
		t.Errorf("the next machine says %q", got)
	}
	if programs(t) != before {
		t.Error("what machines boot has changed")
	}
}

func md5(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "md5sum", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))[0]
}
