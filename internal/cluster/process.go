package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/instance"
)

// lock makes this process the instance's only supervisor until unlock, or
// until it dies.
func lock(inst instance.Instance) (unlock func(), err error) {
	if state, err := inst.LoadState(); err == nil && state.DataDir != inst.DataDir {
		return nil, fmt.Errorf("instance %q was booted with --data-dir %s, not %s; use that folder, another --name, or end it with: redoubt down --name %s",
			inst.Name, state.DataDir, inst.DataDir, inst.Name)
	}
	if err := os.MkdirAll(inst.RunDir(), 0o700); err != nil {
		return nil, fmt.Errorf("make run folder (booting the platform needs root): %w", err)
	}
	f, err := os.OpenFile(inst.Run("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock instance: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("instance %q is %w; see: redoubt status --name %s", inst.Name, ErrRunning, inst.Name)
	}
	return func() { _ = f.Close() }, nil
}

// stopLeftovers ends what a killed supervisor left: with few exceptions its
// programs died with it. The shims of containers, and so the pods, are kept:
// containerd takes them back.
func (b *boot) stopLeftovers() error {
	for deadline := time.Now().Add(10 * time.Second); ; {
		left, err := b.leftovers()
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of an earlier run do not end; end them by hand", left)
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// leftovers are the processes in the engine's control groups that run one of
// the engine's programs.
func (b *boot) leftovers() ([]int, error) {
	pids, err := b.group.Processes("engine")
	if err != nil {
		return nil, err
	}
	ours := map[string]bool{"redoubt": true, "kubernetes": true, "etcd": true, "containerd": true, "coredns": true}
	var left []int
	for _, pid := range pids {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err == nil && ours[filepath.Base(exe)] {
			left = append(left, pid)
		}
	}
	return left, nil
}

// background are goroutines of the supervisor that are waited for at its end.
type background struct {
	wait sync.WaitGroup
	mu   sync.Mutex
	errs []error // guarded by mu
}

func (g *background) add(f func() error) {
	g.wait.Go(func() {
		if err := f(); err != nil {
			g.mu.Lock()
			g.errs = append(g.errs, err)
			g.mu.Unlock()
		}
	})
}

func (g *background) done() error {
	g.wait.Wait()
	return errors.Join(g.errs...)
}
