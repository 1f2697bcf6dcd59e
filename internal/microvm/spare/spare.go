// Package spare keeps a virtual machine ready for the pod that comes next. A
// spare is a shim that has started before it is known for which pod: with its
// machine, which has rehearsed a container's life (pod.Spare). The command that
// containerd starts for a pod's shim hands it the pod, if there is one, and
// else starts a shim without.
//
// There is at most one for each size of machine and each containerd. The shim
// of a pod starts the next one, which gives way to everything else on the host
// until it is a pod's itself. A spare ends with its containerd, and when
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
// shim it is from then on: its arguments, environment and working folder are.
// Without a spare there is nothing more to do: it was not wanted, or could not
// be made.
func Wait() (*pod.Spare, error) {
	memory, err := strconv.ParseInt(os.Args[3], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("memory of a spare: %w", err)
	}
	if len(os.Args) == 4 {
		return nil, detach()
	}
	place := Place{os.Args[2], memory}
	path, err := place.socket()
	if err != nil {
		return nil, err
	}
	unlock, err := filelock.Try(path + ".lock")
	if errors.Is(err, filelock.ErrLocked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	machine, err := newMachine(place)
	if err != nil {
		return nil, fmt.Errorf("make a spare virtual machine: %w", err)
	}
	pods, err := await(place, path, machine)
	if pods == nil {
		machine.End()
		return nil, err
	}
	// What is urgent now began as what was not.
	return machine, errors.Join(pods.become(), unix.Setpriority(unix.PRIO_PGRP, 0, 0), machine.Urgent())
}

func newMachine(place Place) (*pod.Spare, error) {
	ctx, cancel := context.WithTimeout(context.Background(), makeLimit)
	defer cancel()
	config, err := pod.SpareConfig(ctx, place.Memory)
	if err != nil {
		return nil, err
	}
	return pod.NewSpare(ctx, config)
}

// await returns the pod that somebody came with, nil when nobody will.
func await(place Place, path string, machine *pod.Spare) (*handover, error) {
	_ = os.Remove(path) // of one that was killed: this one has the lock
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("wait for a pod: %w", err)
	}
	defer listener.Close() // removes it
	for absent := 0; absent < absences; {
		_ = listener.SetDeadline(time.Now().Add(look))
		conn, err := listener.AcceptUnix()
		select {
		case <-machine.Done():
			// Whoever came starts a shim without a spare.
			return nil, errors.New("the machine ended while it waited")
		default:
		}
		if err == nil {
			pods, err := receive(conn)
			if err == nil {
				return pods, nil
			}
			continue // as here
		}
		if now, keyErr := place.socket(); keyErr != nil || now != path {
			return nil, nil
		}
		absent++
		if containerd, err := net.Dial("unix", place.Containerd); err == nil {
			_ = containerd.Close()
			absent = 0
		}
	}
	return nil, nil
}
