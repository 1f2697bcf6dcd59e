// Package thread gives work an operating-system thread of its own, which it
// may take into other namespaces.
package thread

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Go calls f in a new goroutine, on a thread that runs nothing else and ends
// with f. It is never the process's first thread: that one cannot end, and
// /proc/self shows its namespaces and root as the whole process's.
func Go(f func()) { go run(f, func() {}) }

// run calls locked once it has a thread.
func run(f, locked func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		locked()
		f()
		return // the thread is locked still, so the runtime ends it
	}
	// While this goroutine keeps the first thread, the next one must get
	// another.
	next := make(chan struct{})
	go run(f, func() { close(next) })
	<-next
	runtime.UnlockOSThread()
	locked()
}

// Start starts cmd, whose Pdeathsig shall mean the end of this process. The
// kernel sends that signal when the thread which forked ends (prctl(2)), be
// the process alive or not, so this thread lives as long as cmd. When ended is
// closed cmd is waited for, and cmd.ProcessState says how it ended.
func Start(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	started, done := make(chan error), make(chan struct{})
	Go(func() {
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its state says it all
		}
	})
	return done, <-started
}

// Idle starts a process that does nothing, for what needs one to be there, such as a
// control group or a namespace. It ends with this one, or when end is called, which
// returns when it has ended.
func Idle(attributes syscall.SysProcAttr) (pid int, end func(), err error) {
	cmd := exec.Command("cat")
	attributes.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = &attributes
	input, err := cmd.StdinPipe()
	if err != nil {
		return 0, nil, err
	}
	ended, err := Start(cmd)
	if err != nil {
		return 0, nil, errors.Join(err, input.Close())
	}
	return cmd.Process.Pid, func() {
		_ = input.Close() // or it has ended already
		<-ended
	}, nil
}
