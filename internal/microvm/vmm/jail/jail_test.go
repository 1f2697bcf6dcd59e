package jail_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/microvm/vmm/jail"
)

const patience = 20 * time.Second

// asHelper makes the test's own program start a jail, say its process and wait
// to be killed.
const asHelper = "REDOUBT_TEST_JAIL_ROOT"

func TestMain(m *testing.M) {
	if root := os.Getenv(asHelper); root != "" {
		p, err := jail.Start(spec(root, "sleep", "1000"))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.PID())
		select {}
	}
	os.Exit(m.Run())
}

// newRoot is a folder with busybox in it.
func newRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("%v; install it with: apt-get install busybox-static", err)
	}
	if err := os.WriteFile(filepath.Join(root, "busybox"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o777); err != nil { // only the mount protects it
		t.Fatal(err)
	}
	return root
}

func spec(root string, args ...string) jail.Spec {
	return jail.Spec{
		Root: root, Path: "/busybox", Args: append([]string{"busybox"}, args...),
		Files: []*os.File{nil, os.Stdout, os.Stderr}, UID: 65600, GID: 65601,
	}
}

// output runs a script in the jail and returns what it printed.
func output(t *testing.T, s jail.Spec) string {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	s.Files = []*os.File{nil, write, write}
	p, err := jail.Start(s)
	_ = write.Close()
	if err != nil {
		t.Fatal(err)
	}
	text, err := bufio.NewReader(read).ReadString(0)
	if text == "" {
		t.Fatalf("no output: %v", err)
	}
	await(t, p.Done())
	return text
}

func await(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the process does not end")
	}
}

// TestConfined has a shell try what a program in the jail must not be able to.
func TestConfined(t *testing.T) {
	script := `
B=/busybox
$B echo pid $$ uid $($B id -u) groups $($B id -G)
$B echo files $($B ls -A /)
$B touch /new 2>&- && $B echo wrote the root
$B mount -t tmpfs none / 2>&- && $B echo mounted
$B hostname other 2>&- && $B echo named the host
$B ifconfig lo up 2>&- && $B echo changed the network
$B kill -0 ` + fmt.Sprint(os.Getpid()) + ` 2>&- && $B echo sees the host
true`
	got := output(t, spec(newRoot(t), "sh", "-c", script))
	if want := "pid 1 uid 65600 groups 65601\nfiles busybox\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	// Outside, the same program can do each: see the host, and write.
	control, err := exec.Command("/bin/busybox", "sh", "-c", fmt.Sprintf(
		"[ $(ls -A / | wc -l) -gt 5 ] && kill -0 %d && touch %s/new && echo yes", os.Getpid(), t.TempDir())).Output()
	if err != nil || string(control) != "yes\n" {
		t.Errorf("without a jail: %q, %v; the test proves nothing", control, err)
	}
}

// A device that root alone may open is open to the jail that is given it, and
// there is no other one.
func TestDevices(t *testing.T) {
	device := fmt.Sprintf("/dev/redoubt-test-%d", os.Getpid())
	if err := unix.Mknod(device, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil { // as /dev/null
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(device) })
	root := newRoot(t)
	if err := os.Mkdir(filepath.Join(root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`
B=/busybox
$B echo devices $($B ls /dev)
$B echo x > %[1]s && $B echo opened
$B rm %[1]s 2>&- && $B echo removed
$B mknod /dev/other c 1 3 2>&- && $B echo made another
true`, device)
	given := spec(root, "sh", "-c", script)
	given.Devices = []string{device}
	if got, want := output(t, given), "devices "+filepath.Base(device)+"\nopened\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	// The control: the same user may not open the host's file.
	control := exec.Command("/bin/busybox", "sh", "-c", "echo x > "+device)
	control.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: given.UID, Gid: given.GID}}
	if out, err := control.CombinedOutput(); err == nil {
		t.Errorf("everybody may open %s (%s); the test proves nothing", device, out)
	}
}

func TestNoInheritedFiles(t *testing.T) {
	secret, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	// A file that this process was handed by its own parent has no
	// close-on-exec flag either.
	if _, err := unix.FcntlInt(secret.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	s := spec(newRoot(t), "sleep", "1000")
	p, err := jail.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.Kill(); await(t, p.Done()) }()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err != nil || len(entries) == 0 || len(entries) > len(s.Files) {
		t.Errorf("the jailed process holds %v (%v), want at most the %d it was given", entries, err, len(s.Files))
	}
}

// TestDiesWithParent kills the process that made the jail.
func TestDiesWithParent(t *testing.T) {
	helper := exec.Command("/proc/self/exe")
	helper.Env = append(os.Environ(), asHelper+"="+newRoot(t))
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, 0); err != nil {
		t.Fatalf("the jailed process %d is not there to begin with: %v", pid, err)
	}
	_ = helper.Process.Kill()
	_ = helper.Wait()
	for deadline := time.Now().Add(patience); !gone(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the jailed process %d outlives its parent", pid)
		}
	}
}

// gone says whether a process has ended, reaped or not.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "Z")
}

func TestControlGroup(t *testing.T) {
	name := fmt.Sprintf("redoubt-test-%d", os.Getpid())
	tree, err := cgroup.New(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Create(""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tree.Remove(); err != nil {
			t.Error(err)
		}
	}()
	s := spec(newRoot(t), "sleep", "1000")
	s.Cgroup = "/" + name
	p, err := jail.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	if pids, err := tree.Processes(""); err != nil || !slices.Equal(pids, []int{p.PID()}) {
		t.Errorf("the control group holds %v (%v), want the jailed process %d alone", pids, err, p.PID())
	}
	if mine, _ := filepath.Glob("/proc/self/task/*/cgroup"); len(mine) > 0 {
		for _, thread := range mine {
			if text, _ := os.ReadFile(thread); strings.Contains(string(text), name) {
				t.Errorf("a thread of the parent stayed in the group: %s", text)
			}
		}
	}
	p.Kill()
	await(t, p.Done())
}

func TestBadSpec(t *testing.T) {
	root := newRoot(t)
	for name, change := range map[string]func(*jail.Spec){
		"/missing: no such file": func(s *jail.Spec) { s.Path = "/missing" },
		"the jail's root":        func(s *jail.Spec) { s.Root = "/nowhere" },
		"control group /nowhere": func(s *jail.Spec) { s.Cgroup = "/nowhere" },
		"/dev/nowhere":           func(s *jail.Spec) { s.Devices = []string{"/dev/nowhere"} },
	} {
		s := spec(root, "true")
		change(&s)
		if _, err := jail.Start(s); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want one that says %q", err, name)
		} else if errors.Is(err, unix.EPERM) {
			t.Errorf("these tests need root: %v", err)
		}
	}
}
