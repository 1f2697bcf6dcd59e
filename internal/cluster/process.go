package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/instance"
)

// lock keeps every other process from the instance until unlock, or until this
// one dies.
func lock(inst instance.Instance) (unlock func(), err error) {
	if state, err := inst.LoadState(); err == nil && !sameFolder(inst, state.DataDir) {
		return nil, fmt.Errorf("instance %q was booted with --data-dir %s, not %s; use that folder, another --name, or end it with: redoubt down --name %s",
			inst.Name, state.DataDir, inst.DataDir, inst.Name)
	}
	// Who has the lock takes the folder's mounts away.
	if err := mustBeOurs(inst); err != nil {
		return nil, err
	}
	for {
		f, err := openLock(inst)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("instance %q is %w; see: redoubt status --name %s", inst.Name, ErrRunning, inst.Name)
		}
		if !isAt(f, inst.Run("lock")) { // who held it has removed it in between
			_ = f.Close()
			continue
		}
		// Who held it last is not who holds it now.
		if err := f.Truncate(0); err != nil {
			return nil, errors.Join(fmt.Errorf("lock instance: %w", err), f.Close())
		}
		return func() { _ = f.Close() }, nil
	}
}

// sameFolder says whether dir, which may have links in it, is the instance's
// data folder.
func sameFolder(inst instance.Instance, dir string) bool {
	other, err := instance.New(inst.Name, dir)
	return err == nil && other.DataDir == inst.DataDir
}

func openLock(inst instance.Instance) (*os.File, error) {
	if err := os.MkdirAll(inst.RunDir(), 0o700); err != nil {
		return nil, fmt.Errorf("make run folder (booting the platform needs root): %w", err)
	}
	f, err := os.OpenFile(inst.Run("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock instance: %w", err)
	}
	return f, nil
}

// lockMachine keeps other instances from what all of them share, such as the
// kernel's settings, until unlock. Nobody holds it for long.
func lockMachine() (unlock func(), err error) {
	const limit, pause = 30 * time.Second, 10 * time.Millisecond
	f, err := os.OpenFile(instance.MachineLock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock what instances share: %w", err)
	}
	for deadline := time.Now().Add(limit); ; time.Sleep(pause) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if time.Now().After(deadline) {
			_ = f.Close()
			return nil, fmt.Errorf("lock what instances share, %s, within %v: %w", f.Name(), limit, err)
		}
	}
}

// isAt says whether an open file is still the one at path.
func isAt(f *os.File, path string) bool {
	ours, err1 := f.Stat()
	there, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(ours, there)
}

// becomeSupervisor says in the lock, which this process holds, that it is the
// one to tell when the instance is to end. The state does not say that: it
// outlives a supervisor that is killed.
func becomeSupervisor(inst instance.Instance) error {
	if err := os.WriteFile(inst.Run("lock"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return fmt.Errorf("lock instance: %w", err)
	}
	return nil
}

// supervisorOf is the process of whoever holds the lock and runs the instance,
// or 0.
func supervisorOf(inst instance.Instance) int {
	data, err := os.ReadFile(inst.Run("lock"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
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
