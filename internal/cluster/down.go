package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/cluster/network"
	"redoubt.dev/redoubt/internal/cri"
	"redoubt.dev/redoubt/internal/instance"
)

const (
	// podGrace is how long containers have to end by themselves.
	podGrace = 5 * time.Second
	// processGrace is how long the platform's own processes have.
	processGrace = 5 * time.Second
	// stopLimit bounds the whole end of an instance.
	stopLimit = time.Minute
)

// Down ends the instance, whoever runs it and whatever state it is in, and
// leaves nothing of it on the machine but its data, or not even that. What it
// does is named on out. Ending what does not run is no error.
func Down(ctx context.Context, inst instance.Instance, removeData bool, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	unlock, err := lock(inst)
	if errors.Is(err, ErrRunning) {
		fmt.Fprintf(out, "Stopping instance %q\n", inst.Name)
		unlock, err = endSupervisor(ctx, inst)
	}
	if err != nil {
		return err
	}
	defer unlock()
	if err := tearDown(inst); err != nil {
		return err
	}
	fmt.Fprintf(out, "Instance %q is down\n", inst.Name)
	if !removeData {
		return forget(inst)
	}
	// The lock goes with the run folder, and so does that last.
	if err := purge(inst); err != nil {
		return errors.Join(err, forget(inst))
	}
	fmt.Fprintf(out, "Removed %s\n", inst.DataDir)
	return forget(inst)
}

// endSupervisor asks the supervisor to end the instance, by force when it does
// not, and takes over its lock. Another process that is ending the instance
// holds the lock too, and is waited for.
func endSupervisor(ctx context.Context, inst instance.Instance) (unlock func(), err error) {
	asked, cancel := context.WithTimeout(ctx, stopLimit/2)
	defer cancel()
	told := false
	err = poll(asked, func() (err error) {
		if unlock, err = lock(inst); err == nil || told {
			return err
		}
		supervisor := supervisorOf(inst)
		if err := wake(inst, supervisor); err != nil {
			return err
		}
		told = askToStop(asked, inst, supervisor) == nil
		return err
	})
	if err == nil {
		return unlock, nil
	}
	// Whoever asked no longer waits; that is no reason to use force.
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("instance %q has not ended yet: %w", inst.Name, err)
	}
	supervisor := supervisorOf(inst)
	if supervisor == 0 {
		return nil, err
	}
	if err := unix.Kill(supervisor, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("kill the supervisor: %w", err)
	}
	err = poll(ctx, func() (err error) {
		unlock, err = lock(inst)
		return err
	})
	return unlock, err
}

// wake lets what somebody has stopped or frozen run again: it would neither
// hear that it is to end nor let go of what waits for it.
func wake(inst instance.Instance, supervisor int) error {
	tree, err := cgroup.New(inst.ID())
	if err != nil {
		return err
	}
	tree.Thaw("")
	pids, err := tree.Processes("")
	if err != nil {
		return err
	}
	if supervisor != 0 { // which would be this process's own group
		pids = append(pids, supervisor)
	}
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGCONT) // one that has ended needs no waking
	}
	return nil
}

// askToStop tells the supervisor through its socket, or by a signal where it
// does not answer and is known.
func askToStop(ctx context.Context, inst instance.Instance, supervisor int) error {
	asked, cancel := context.WithTimeout(ctx, processGrace)
	defer cancel()
	resp, err := control(asked, inst, http.MethodPost, "/stop")
	if err == nil {
		return resp.Body.Close()
	}
	if supervisor == 0 {
		return err
	}
	return unix.Kill(supervisor, unix.SIGTERM)
}

// end stops what this supervisor started: first what would start pods again,
// then the pods, then the rest.
func (b *boot) end() error {
	_ = b.inst.SaveState(b.state()) // not ready; a full disk must not keep it from ending
	b.closeListeners()
	if b.supervisor != nil {
		fmt.Fprintln(b.out, "Stopping pods and processes")
		for _, name := range []string{"gateway", "controller", "node", "kubelet"} {
			b.supervisor.Stop(name, processGrace)
		}
		b.stopPods()
		b.supervisor.StopAll(processGrace)
	}
	return errors.Join(b.background.done(), cleanUp(b.inst))
}

// stopPods is kind to pods; those that it does not reach are killed with
// their control group.
func (b *boot) stopPods() {
	ctx, cancel := context.WithTimeout(context.Background(), podGrace+processGrace)
	defer cancel()
	if err := cri.StopAll(ctx, b.inst.ContainerdSocket(), podGrace); err != nil {
		fmt.Fprintf(b.out, "Some pods did not stop by themselves and are killed: %v\n", err)
	}
}

// cleanUp removes everything of the instance that is not data. Each part is
// tried whatever became of the others.
func cleanUp(inst instance.Instance) error {
	if err := tearDown(inst); err != nil {
		return err
	}
	return forget(inst)
}

// tearDown ends what runs of the instance, and takes its mounts and its network
// away.
func tearDown(inst instance.Instance) error {
	errs := []error{endProcesses(inst)}
	errs = append(errs,
		unmountBelow(inst.RunDir()),
		// The kubelet mounts its folder onto itself, to share what it mounts there.
		unmount(inst.Data("kubelet")),
		unmountBelow(inst.Data("containerd")),
		network.Teardown(inst.ID(), inst.NetNS()),
	)
	return errors.Join(errs...)
}

// forget removes the run folder, with the lock, and what instances share when
// this was the last.
func forget(inst instance.Instance) error {
	unlock, err := lockMachine()
	if err != nil {
		return err
	}
	defer unlock()
	if err := removeRunDir(inst); err != nil {
		return err
	}
	others, err := instance.Booted()
	if err != nil || len(others) > 0 {
		return err
	}
	for _, dir := range []string{"/run/containerd/s", "/run/containerd", netns.NamesDir, filepath.Dir(inst.RunDir())} {
		defer os.Remove(dir) // only if it is empty
	}
	return network.RestoreSysctls(instance.SysctlFile())
}

func endProcesses(inst instance.Instance) error {
	tree, err := cgroup.New(inst.ID())
	if err != nil {
		return err
	}
	if err := tree.Kill("", processGrace); err != nil {
		return err
	}
	return tree.Remove()
}

// removeRunDir keeps the lock, which is held, until its folder goes with it.
func removeRunDir(inst instance.Instance) error {
	if err := mustNotHoldMounts(inst.RunDir()); err != nil {
		return err
	}
	return os.RemoveAll(inst.RunDir())
}
