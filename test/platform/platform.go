// Package platform boots instances for end-to-end tests and drives them as a
// user would, through the redoubt program.
//
// A Platform ends with the test process, whatever becomes of that.
package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"

	"redoubt.dev/redoubt/internal/instance"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/thread"
)

// bootLimit bounds the boot of an instance on a slow machine.
const bootLimit = 4 * time.Minute

// Platform is a booted instance.
type Platform struct {
	Inst    instance.Instance
	State   instance.State
	Cluster kubernetes.Interface
	process *os.Process     // nil where the instance is somebody else's
	ended   <-chan struct{} // closed when process has ended
}

// Program is the redoubt that is tested.
func Program() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for !exists(filepath.Join(dir, "go.mod")) { // tests run in their package's folder
		if dir == "/" {
			return "", errors.New("not inside the repository")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "bin", "redoubt")
	if !exists(path) {
		return "", fmt.Errorf("%s is missing; build it with: make engine build", path)
	}
	return path, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Boot boots an instance with a data folder of its own. What a killed run left
// of an instance of that name is removed first.
func Boot(name string, flags ...string) (*Platform, error) {
	if err := removeLeft(name); err != nil {
		return nil, err
	}
	data, err := os.MkdirTemp("/var/tmp", "redoubt-"+name+"-")
	if err != nil {
		return nil, err
	}
	inst, err := instance.New(name, data)
	if err != nil {
		return nil, err
	}
	p := &Platform{Inst: inst}
	return p, p.Up(flags...)
}

// removeLeft removes what a run that was killed left of the instance: its
// pods outlive its supervisor, and its folder both. One whose supervisor lives
// is another run's, and booting a second one says so.
func removeLeft(name string) error {
	inst, err := instance.New(name, "")
	if err != nil {
		return err
	}
	state, err := inst.LoadState()
	if err != nil || unix.Kill(state.SupervisorPID, 0) == nil {
		return nil
	}
	if inst, err = instance.New(name, state.DataDir); err != nil {
		return err
	}
	left := Platform{Inst: inst}
	if out, err := left.Command(context.Background(), "down", "--purge", "--yes").CombinedOutput(); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w\n%s", err, out)
	}
	return nil
}

// Up boots the instance, which does not run, as a child that ends with this
// process. It measures no class unless a flag says so: tests count pods.
func (p *Platform) Up(flags ...string) error {
	redoubt, err := Program()
	if err != nil {
		return err
	}
	args := append([]string{"up", "--name=" + p.Inst.Name, "--data-dir=" + p.Inst.DataDir, "--http-port=0", "--api-port=0", "--wait=" + bootLimit.String(), "--measure=false"}, flags...)
	cmd := exec.Command(redoubt, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if p.ended, err = thread.Start(cmd); err != nil {
		return err
	}
	p.process = cmd.Process
	for {
		if state, err := p.Inst.LoadState(); err == nil && state.Ready && state.SupervisorPID == cmd.Process.Pid {
			p.State = state
			return p.connect()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("redoubt %s: %v\n%s", strings.Join(args, " "), cmd.ProcessState, output.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Signal sends a signal to the instance's supervisor, which must end by it.
func (p *Platform) Signal(sig os.Signal) error {
	if err := p.process.Signal(sig); err != nil {
		return err
	}
	<-p.ended
	return nil
}

// Join uses an instance that runs already, to save its boot while working on
// a test.
func Join(name string) (*Platform, error) {
	inst, err := instance.New(name, "")
	if err != nil {
		return nil, err
	}
	state, err := inst.LoadState()
	if err != nil {
		return nil, err
	}
	p := &Platform{Inst: inst, State: state}
	return p, p.connect()
}

func (p *Platform) connect() error {
	cfg, err := kube.Config(p.Inst.Kubeconfig(), "redoubt-test")
	if err != nil {
		return err
	}
	p.Cluster, err = kubernetes.NewForConfig(cfg)
	return err
}

// End removes the instance and its data, unless it is somebody else's.
func (p *Platform) End() error {
	if p.process == nil {
		return nil
	}
	out, err := p.Command(context.Background(), "down", "--purge", "--yes").CombinedOutput()
	if err != nil {
		return fmt.Errorf("redoubt down: %w\n%s", err, out)
	}
	return nil
}

// Command is redoubt with args, on this instance.
func (p *Platform) Command(ctx context.Context, args ...string) *exec.Cmd {
	redoubt, err := Program()
	if err != nil {
		panic(err) // it was there when the instance was booted
	}
	global := []string{"--name=" + p.Inst.Name, "--data-dir=" + p.Inst.DataDir}
	if len(args) > 0 && args[0] == "kubectl" {
		// What follows kubectl is kubectl's, but for these two.
		args = append(append([]string{"kubectl"}, global...), args[1:]...)
	} else {
		args = append(args, global...)
	}
	return exec.CommandContext(ctx, redoubt, args...)
}

// Redoubt runs a command that must succeed and returns what it printed to
// standard output.
func (p *Platform) Redoubt(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.Try(t, "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try runs a command with the given standard input. The error has what it
// printed to standard error.
func (p *Platform) Try(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := p.Command(t.Context(), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("redoubt %s: %w\n%s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Kubectl runs kubectl, which must succeed.
func (p *Platform) Kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return p.Redoubt(t, append([]string{"kubectl"}, args...)...)
}

// Apply applies a manifest, which must succeed.
func (p *Platform) Apply(t *testing.T, manifest string) {
	t.Helper()
	if _, err := p.Try(t, manifest, "kubectl", "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// Refuse applies a manifest, which must fail with a message that contains
// each of the parts.
func (p *Platform) Refuse(t *testing.T, manifest string, parts ...string) {
	t.Helper()
	_, err := p.Try(t, manifest, "kubectl", "apply", "-f", "-")
	if err == nil {
		t.Fatalf("accepted:\n%s", manifest)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the refusal does not say %q: %v", part, err)
		}
	}
}

// Eventually tries f until it succeeds. The limit is for what will never
// come; nothing here measures time.
func Eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	const limit = 3 * time.Minute
	var err error
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within %v: %v", what, limit, err)
}
