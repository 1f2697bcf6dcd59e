// Package jail starts a program that must be able to do nothing but compute
// and use the files that it is handed: its own user, its own mount, network,
// IPC, host-name and process-id namespaces, a read-only root that holds the
// program and no more, no way to gain privileges, and the control group it is
// told.
//
// A jailed process dies with the process that started it, however that ends:
// the kernel kills it (PR_SET_PDEATHSIG).
package jail

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/thread"
)

// Spec is one process to start.
type Spec struct {
	// Root is the folder that the process sees as its root, read-only.
	Root string
	// Path is the program inside Root, Args its arguments with its own name
	// first, Env its whole environment.
	Path string
	Args []string
	Env  []string
	// Files are its open files; their index is the number it knows them by.
	Files []*os.File
	// UID and GID are what it runs as, without further groups.
	UID, GID uint32
	// Devices are the host's device files, in /dev, that it may open at the same
	// paths, whoever may open the host's: it has files of its own for them, and
	// nothing else there. Root has a folder /dev for that.
	Devices []string
	// Cgroup is where it runs from its first instruction on; empty means where
	// the caller is.
	Cgroup string
}

// Process is a jailed process.
type Process struct {
	pid   int
	done  chan struct{}
	state *os.ProcessState // set before done is closed
	proc  *os.Process
}

// Start starts the process that spec describes.
func Start(spec Spec) (*Process, error) {
	p := &Process{done: make(chan struct{})}
	started := make(chan error)
	thread.Go(func() { p.run(spec, started) })
	return p, <-started
}

// PID is the process's id where the caller is.
func (p *Process) PID() int { return p.pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// State says how the process ended, once Done is closed.
func (p *Process) State() *os.ProcessState { return p.state }

// Kill ends the process; it does not wait.
func (p *Process) Kill() { _ = p.proc.Kill() }

// run is the life of one operating-system thread. The thread enters the
// namespaces, so that a child forked from it is inside from its start; and it
// lives as long as the child, for the kernel sends the parent-death signal
// when the forking thread ends, not the process. It is never given back to
// other goroutines.
func (p *Process) run(spec Spec, started chan<- error) {
	proc, err := start(spec)
	if err != nil {
		started <- err
		return
	}
	p.proc, p.pid = proc, proc.Pid
	started <- nil
	p.state, _ = proc.Wait()
	close(p.done)
}

func start(spec Spec) (*os.Process, error) {
	group, err := openGroup(spec.Cgroup)
	if err != nil {
		return nil, err
	}
	defer group.close()
	if err := enter(spec); err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID,
		Credential: &syscall.Credential{Uid: spec.UID, Gid: spec.GID},
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
	}
	if err := group.join(attr); err != nil {
		return nil, err
	}
	// What this process inherited itself must not go on to the jail.
	if err := unix.CloseRange(3, ^uint(0)>>33, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, fmt.Errorf("keep open files out of the jail (needs Linux 5.11): %w", err)
	}
	proc, err := os.StartProcess(spec.Path, spec.Args, &os.ProcAttr{Env: spec.Env, Files: spec.Files, Sys: attr})
	if leaveErr := group.leave(); err == nil && leaveErr != nil {
		_ = proc.Kill()
		_, _ = proc.Wait()
		err = leaveErr
	}
	if err != nil {
		return nil, fmt.Errorf("start %s in %s: %w", spec.Path, spec.Root, err)
	}
	return proc, nil
}

// enter takes the calling thread into namespaces of its own and gives it its root.
// The caller's process as a whole stays where it is.
func enter(spec Spec) error {
	root := spec.Root
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("keep mounts apart: %w", err)
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the jail's root %s: %w", root, err)
	}
	const flags = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("", root, "", flags, ""); err != nil {
		return fmt.Errorf("protect the jail's root %s: %w", root, err)
	}
	if err := makeDevices(spec); err != nil {
		return err
	}
	if err := unix.Chdir(root); err != nil {
		return fmt.Errorf("enter the jail's root: %w", err)
	}
	// The old root is stacked under the new one and then let go (pivot_root(2)).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change root to %s: %w", root, err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let the old root go: %w", err)
	}
	// From here on no program, set-uid or not, gives more rights.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	return nil
}

// makeDevices makes the jail's device files, as its user's.
func makeDevices(spec Spec) error {
	if len(spec.Devices) == 0 {
		return nil
	}
	dev := spec.Root + "/dev"
	const flags = unix.MS_NOSUID | unix.MS_NOEXEC
	if err := unix.Mount("dev", dev, "tmpfs", flags, "mode=0755,size=4k"); err != nil {
		return fmt.Errorf("mount a folder for %v in the jail: %w", spec.Devices, err)
	}
	for _, device := range spec.Devices {
		var host unix.Stat_t
		if err := unix.Stat(device, &host); err != nil {
			return fmt.Errorf("give the jail %s: %w", device, err)
		}
		if err := unix.Mknod(spec.Root+device, host.Mode&unix.S_IFMT|0o600, int(host.Rdev)); err != nil {
			return fmt.Errorf("make %s in the jail: %w", device, err)
		}
		if err := unix.Chown(spec.Root+device, int(spec.UID), int(spec.GID)); err != nil {
			return fmt.Errorf("give the jail %s: %w", device, err)
		}
	}
	if err := unix.Mount("", dev, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("protect the jail's devices: %w", err)
	}
	return nil
}
