package forwards

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"redoubt.dev/redoubt/internal/cri"
)

// runtime is the container runtime at a socket.
type runtime struct {
	socket string
	pid    int                  // 0 until it is known
	uids   map[namespace]string // of pods, by the namespaces that were open last
}

func newRuntime(socket string) *runtime { return &runtime{socket: socket} }

// entered are the pods of the network namespaces that the runtime keeps open;
// a namespace of no pod is none's.
func (r *runtime) entered(ctx context.Context) (map[namespace]string, error) {
	open, err := r.lasting(ctx)
	if err != nil {
		return nil, err
	}
	now := map[namespace]string{}
	for n := range open {
		uid, known := r.uids[n]
		if !known {
			if uid, err = r.podOf(ctx, n); err != nil {
				return nil, err
			}
		}
		now[n] = uid
	}
	r.uids = now
	return now, nil
}

func (r *runtime) lasting(ctx context.Context) (map[namespace]struct{}, error) {
	if r.pid != 0 {
		if open, err := lasting(ctx, r.pid); err == nil {
			return open, nil
		}
	}
	var err error
	if r.pid, err = server(r.socket); err != nil { // it was started anew
		return nil, err
	}
	return lasting(ctx, r.pid)
}

// server is the process that listens at a socket.
func server(socket string) (pid int, err error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	controlErr := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(controlErr, err); err != nil {
		return 0, fmt.Errorf("find the process behind %s: %w", socket, err)
	}
	return int(peer.Pid), nil
}

// podOf is the UID of the pod whose network namespace it is; empty where it is
// no pod's.
func (r *runtime) podOf(ctx context.Context, n namespace) (uid string, err error) {
	client, conn, err := cri.Connect(r.socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	list, err := client.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{
		Filter: &runtimeapi.PodSandboxFilter{State: &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY}},
	})
	if err != nil {
		return "", fmt.Errorf("list sandboxes: %w", err)
	}
	for _, pod := range list.Items {
		status, err := client.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod.Id, Verbose: true})
		if err == nil && namespaceOf(status.Info["info"]) == n { // it may have ended meanwhile
			return pod.Metadata.GetUid(), nil
		}
	}
	return "", nil
}

// namespaceOf reads a sandbox's network namespace out of what a runtime tells
// about it; 0 where there is none of its own.
func namespaceOf(info string) namespace {
	var sandbox struct {
		RuntimeSpec struct {
			Linux struct {
				Namespaces []struct{ Type, Path string }
			}
		}
	}
	if json.Unmarshal([]byte(info), &sandbox) != nil {
		return 0
	}
	for _, n := range sandbox.RuntimeSpec.Linux.Namespaces {
		var file unix.Stat_t
		if n.Type == "network" && n.Path != "" && unix.Stat(n.Path, &file) == nil {
			return namespace(file.Ino)
		}
	}
	return 0
}
