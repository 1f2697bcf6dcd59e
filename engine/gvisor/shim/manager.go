package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/sys"
	v1 "gvisor.dev/gvisor/pkg/shim/v1"
)

const (
	// protocolVersion 2 makes containerd call "start" for every container;
	// those of one pod get the same address.
	protocolVersion = 2
	// killLast is the score that containerd's own shims have.
	killLast = -998
)

// manager starts the shim of a pod. Stopping it is gVisor's.
type manager struct{ shim.Manager }

func newManager(name string) manager { return manager{v1.NewShimManager(name)} }

// Start answers with the address of the pod's shim, which it starts for the
// pod's first container. The working folder is the container's bundle.
func (m manager) Start(ctx context.Context, id string, opts shim.StartOpts) (shim.BootstrapParams, error) {
	none := shim.BootstrapParams{}
	b, err := readBundle(".")
	if err != nil {
		return none, err
	}
	address, err := shim.SocketAddress(ctx, opts.Address, b.pod(id), opts.Debug)
	if err != nil {
		return none, fmt.Errorf("choose the shim's socket: %w", err)
	}
	if err := os.WriteFile("address", []byte(address), 0o600); err != nil {
		return none, fmt.Errorf("record the shim's socket: %w", err)
	}
	answer := shim.BootstrapParams{Version: protocolVersion, Address: address, Protocol: "ttrpc"}
	if shim.CanConnect(address) {
		return answer, nil
	}
	if err := launch(ctx, id, address, opts); err != nil {
		return none, err
	}
	return answer, nil
}

// launch starts the serving process, which inherits the listening socket.
func launch(ctx context.Context, id, address string, opts shim.StartOpts) (err error) {
	// A socket that nobody answers is left from a shim that was killed.
	if err := shim.RemoveSocket(address); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket of an earlier shim: %w", err)
	}
	socket, err := shim.NewSocket(address)
	if err != nil {
		return fmt.Errorf("listen for containerd: %w", err)
	}
	// The shim goes on listening when this process is gone.
	socket.SetUnlinkOnClose(false)
	defer socket.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, shim.RemoveSocket(address))
		}
	}()
	file, err := socket.File()
	if err != nil {
		return fmt.Errorf("pass the socket on: %w", err)
	}
	defer file.Close()
	cmd, err := command(ctx, id, opts)
	if err != nil {
		return err
	}
	cmd.ExtraFiles = []*os.File{file}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the shim: %w", err)
	}
	// Where the kernel refuses, the shim runs with the score it inherits: it
	// may be killed for memory like any other process, its sandbox with it.
	_ = sys.SetOOMScore(cmd.Process.Pid, killLast)
	if err := shim.WritePidFile("shim.pid", cmd.Process.Pid); err != nil {
		return errors.Join(fmt.Errorf("record the shim's process: %w", err), cmd.Process.Kill())
	}
	return cmd.Process.Release()
}

func command(ctx context.Context, id string, opts shim.StartOpts) (*exec.Cmd, error) {
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the shim's own program: %w", err)
	}
	args := []string{"-namespace", namespace, "-address", opts.Address, "-id", id}
	if opts.Debug {
		args = append(args, "-debug")
	}
	cmd := exec.Command(self, args...)
	// Two threads are enough to wait for events, and save memory per pod.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, nil
}
