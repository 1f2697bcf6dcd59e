package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/shim/v1/runsc"
	"gvisor.dev/gvisor/pkg/unet"
	"gvisor.dev/gvisor/pkg/urpc"
)

// patience is how long the sandbox may take to answer. A frozen one does not
// answer at all.
const patience = 5 * time.Second

// sandbox is a running sandbox's control socket, which gVisor's own commands
// use too: asking it directly saves starting a process for every question.
type sandbox struct{ socket string }

// controlSocket is where the sandbox that r made listens. Only root may
// search the folder it is in.
func controlSocket(ctx context.Context, r *task.CreateTaskRequest) (string, error) {
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return "", err
	}
	var state runsc.State
	if err := state.Load(r.Bundle); err != nil {
		return "", fmt.Errorf("read how the sandbox was started: %w", err)
	}
	return filepath.Join(state.Options.Root, namespace, "runsc-"+r.ID+".sock"), nil
}

// memory is what a container uses, in bytes, as the sandbox's kernel counts.
func (s sandbox) memory(container string) (uint64, error) {
	var answer struct {
		Event struct {
			Data struct {
				Memory struct {
					Usage struct {
						Usage uint64 `json:"usage"`
					} `json:"usage"`
				} `json:"memory"`
			} `json:"data"`
		} `json:"event"`
	}
	if err := s.call("containerManager.Event", &container, &answer); err != nil {
		return 0, fmt.Errorf("ask for the memory of container %s: %w", container, err)
	}
	return answer.Event.Data.Memory.Usage.Usage, nil
}

// signalForeground sends a signal to the processes that have the terminal of
// the container's first process.
func (s sandbox) signalForeground(container string, number int32) error {
	const toForeground = 2 // gVisor's DeliverToForegroundProcessGroup
	args := struct {
		CID   string
		Signo int32
		Mode  int
	}{container, number, toForeground}
	return s.call("containerManager.Signal", &args, nil)
}

// dial connects to a TCP port of the pod's own loopback, wherever in the pod
// it is listened to.
func (s sandbox) dial(pod string, port uint16) (net.Conn, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket pair: %w", err)
	}
	near, far := os.NewFile(uintptr(ends[0]), "near"), os.NewFile(uintptr(ends[1]), "far")
	defer near.Close()
	defer far.Close()
	opts := struct {
		urpc.FilePayload
		ContainerID string
		Port        uint16
	}{urpc.FilePayload{Files: []*os.File{far}}, pod, port}
	if err := s.call("containerManager.PortForward", &opts, nil); err != nil {
		return nil, fmt.Errorf("connect to port %d of the pod: %w", port, err)
	}
	conn, err := net.FileConn(near)
	if err != nil {
		return nil, fmt.Errorf("connect to port %d of the pod: %w", port, err)
	}
	return conn, nil
}

// call asks the sandbox's kernel for method.
func (s sandbox) call(method string, arg, answer any) error {
	conn, err := connect(s.socket)
	if err != nil {
		return fmt.Errorf("reach the sandbox: %w", err)
	}
	client := urpc.NewClient(conn)
	defer client.Close()
	// The client has no time limit of its own; closing its socket ends it.
	late := time.AfterFunc(patience, func() { _ = unix.Shutdown(conn.FD(), unix.SHUT_RDWR) })
	defer late.Stop()
	return client.Call(method, arg, answer)
}

// connect opens a socket whose path may be longer than the kernel takes.
func connect(path string) (*unet.Socket, error) {
	f, err := os.OpenFile(path, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return unet.Connect(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), false)
}
