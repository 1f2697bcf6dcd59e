package spare

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/filelock"
	"redoubt.dev/redoubt/internal/thread"
)

// idle is the niceness of a spare that is being made.
const idle = 19

// Next starts the next spare for a place, unless there is one, and waits while
// this process lives. What goes wrong is for the log: pods start without, too.
func Next(place Place) {
	path, err := place.socket()
	if err != nil {
		log.L.WithError(err).Warn("no spare virtual machine")
		return
	}
	unlock, err := filelock.Try(path + ".lock")
	if err != nil {
		return // there is one
	}
	unlock()
	thread.Go(func() {
		if out, err := start(place); err != nil {
			log.L.WithError(err).WithField("output", out).Warn("no spare virtual machine")
		}
	})
}

// start runs a spare on a thread that it is not a loss to have slowed down:
// the niceness of a process is that of the thread which forks it.
func start(place Place) (output string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	var said bytes.Buffer
	cmd := exec.Command(self, command, place.Containerd, strconv.FormatInt(place.Memory, 10))
	cmd.Dir, cmd.Stderr = "/", &said
	if mayHurryAgain() {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, idle)
	}
	err = cmd.Run()
	return said.String(), err
}

// detach starts this program again, as a process of its own: the spare is not
// part of the pod whose shim asked for it.
func detach() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	reserved, err := os.Open(os.DevNull) // the place of the socket that it will have
	if err != nil {
		return err
	}
	defer reserved.Close()
	cmd := exec.Command(self, append(os.Args[1:], detached)...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{reserved}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// mayHurryAgain says whether what was slowed down can be made faster again,
// for which the kernel wants CAP_SYS_NICE. It tries with the calling thread.
func mayHurryAgain() bool {
	return unix.Setpriority(unix.PRIO_PROCESS, 0, 1) == nil && unix.Setpriority(unix.PRIO_PROCESS, 0, 0) == nil
}
