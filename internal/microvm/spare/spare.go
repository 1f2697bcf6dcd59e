// Package spare keeps a virtual machine ready for the pod that comes next. A
// spare is a shim that has started before it is known for which pod: with its
// machine, which has rehearsed a container's life (pod.Spare). The command that
// containerd starts for a pod's shim hands it the pod, if there is one, and
// else starts a shim without.
//
// There is at most one for each size of machine and each containerd. The shim
// of a pod starts the next one, which gives way to everything else on the host
// until it is a pod's itself. A pod that comes before it is ready gets it too: that
// takes no longer than a machine from the beginning. A spare ends with its containerd, and when
// the files that it was made from are replaced.
package spare

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/filelock"
	"redoubt.dev/redoubt/internal/microvm/pod"
	"redoubt.dev/redoubt/internal/microvm/template"
)

const (
	command = "spare"
	// detached is the last argument of a spare whose parent has ended.
	detached = "detached"
	// makeLimit bounds the making of a spare, of its template, too.
	makeLimit = 5 * time.Minute
	// look is how often a spare looks whether it is still of use.
	look = 5 * time.Second
	// absences is how many looks in a row may find no containerd: it may be
	// restarting.
	absences = 12
)

// Place is where a spare waits: for pods of the containerd at an address, with
// machines that start with so much memory, in bytes.
type Place struct {
	Containerd string
	Memory     int64
}

// socket is the path of the spare's. It changes with the shim and the guest
// image: a spare of another release is not found.
func (p Place) socket() (string, error) {
	from, err := pod.MadeFrom()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%d\n", p.Containerd, p.Memory)
	for _, path := range from {
		info, err := os.Stat(path)
		if err != nil {
			return "", fmt.Errorf("find out what a spare is made from: %w", err)
		}
		fmt.Fprintf(sum, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
	}
	return filepath.Join(template.Folder(), "spares", hex.EncodeToString(sum.Sum(nil)[:8])), nil
}

// Asked says whether this process shall be a spare, or start one.
func Asked() bool { return len(os.Args) >= 4 && os.Args[1] == command }

// Wait makes the machine and waits until this process is given a pod, whose
// shim it is from then on (given): its arguments, environment and working folder
// are. A pod may come while the machine is being made: it gets it as soon as it
// can be used. The machine is nil where it could not be made, which is for the
// log then. Not given, there is nothing more to do.
func Wait() (machine *pod.Spare, given bool, err error) {
	memory, err := strconv.ParseInt(os.Args[3], 10, 64)
	if err != nil {
		return nil, false, fmt.Errorf("memory of a spare: %w", err)
	}
	if len(os.Args) == 4 {
		return nil, false, detach()
	}
	place := Place{os.Args[2], memory}
	path, err := place.socket()
	if err != nil {
		return nil, false, err
	}
	unlock, err := filelock.Try(path + ".lock")
	if errors.Is(err, filelock.ErrLocked) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	return place.wait(path)
}

// result is how the making of a machine ended.
type result struct {
	machine *pod.Spare
	err     error
}

// wait is Wait once this process is the place's only spare.
func (p Place) wait(path string) (machine *pod.Spare, given bool, err error) {
	_ = os.Remove(path) // of one that was killed: this one has the lock
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, false, fmt.Errorf("wait for a pod: %w", err)
	}
	hurry, made := make(chan struct{}), make(chan result, 1)
	go func() {
		machine, err := newMachine(p, hurry)
		made <- result{machine, err}
		if err == nil {
			<-machine.Done()
		}
		_ = listener.Close() // there is nothing to wait with
	}()
	pods := await(p, path, listener)
	_ = listener.Close() // removes it
	close(hurry)
	if pods != nil {
		// What is urgent now began as what was not.
		err = unix.Setpriority(unix.PRIO_PGRP, 0, 0)
	}
	got := <-made
	if pods == nil {
		if got.err == nil {
			got.machine.End()
		}
		return nil, false, got.err
	}
	if err := errors.Join(err, pods.become()); err != nil {
		return nil, false, err
	}
	if got.err != nil {
		log.L.WithError(got.err).Warn("no spare virtual machine")
		return nil, true, nil
	}
	return got.machine, true, got.machine.Urgent()
}

func newMachine(place Place, hurry <-chan struct{}) (*pod.Spare, error) {
	ctx, cancel := context.WithTimeout(context.Background(), makeLimit)
	defer cancel()
	config, err := pod.SpareConfig(ctx, place.Memory)
	if err != nil {
		return nil, fmt.Errorf("make a spare virtual machine: %w", err)
	}
	machine, err := pod.NewSpare(ctx, config, hurry)
	if err != nil {
		return nil, fmt.Errorf("make a spare virtual machine: %w", err)
	}
	return machine, nil
}

// await returns the pod that somebody came with, nil when nobody will, or
// listener is closed.
func await(place Place, path string, listener *net.UnixListener) *handover {
	for absent := 0; absent < absences; {
		_ = listener.SetDeadline(time.Now().Add(look))
		conn, err := listener.AcceptUnix()
		if err == nil {
			if pods, err := receive(conn); err == nil {
				return pods
			}
			continue // whoever it was starts a shim without a spare
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if now, err := place.socket(); err != nil || now != path {
			return nil
		}
		absent++
		if containerd, err := net.Dial("unix", place.Containerd); err == nil {
			_ = containerd.Close()
			absent = 0
		}
	}
	return nil
}
