// Package launch starts processes in namespaces of their own, as a list of
// system calls that a forked child makes.
//
// A Program is written first, by the parent: each of its steps is one system
// call with its arguments. Run forks; the child makes the calls one after
// another, of which the last replaces it with the program to run or never
// returns. So a container starts with one fork: no helper program has to load
// and begin, which under emulation costs more than all of these calls.
//
// Between fork and exec the child may not allocate, take a lock or grow its
// stack, because the other threads of the parent, which may be in the midst of
// that, do not exist in it. This is why there is no Go code to run there.
package launch

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Namespaces that a process begins with, anew; CLONE_ flags.
type Namespaces = uint64

// step is one system call.
type step struct {
	call   uintptr
	args   [6]uintptr
	ignore [3]syscall.Errno // errors that do not matter
	save   bool             // keep the result, a file descriptor
	saved  bool             // the first argument is the kept result
	what   string           // for the error
}

// Program is what the child does. It is used once.
type Program struct {
	steps []step
	keep  []any // what the steps point to
	// namespaces the child is born into; see Run.
	namespaces Namespaces
	cgroup     int
	pidOf      int
}

// New begins a program whose process gets new namespaces and starts in the
// control group that the file descriptor cgroup is, if it is not negative.
func New(namespaces Namespaces, cgroup int) *Program {
	p := &Program{namespaces: namespaces, cgroup: cgroup, pidOf: -1}
	// The parent's signal mask is of no concern to the program.
	none := new(uint64)
	p.keep = append(p.keep, none)
	p.add("reset signals", unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, pointer(none), 0, 8)
	return p
}

// InPIDNamespaceOf starts the process in the PID namespace of the process that
// pidfd is.
func (p *Program) InPIDNamespaceOf(pidfd int) { p.pidOf = pidfd }

// cloneArgs are clone3's (linux/sched.h).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal uint64
	stack, stackSize, tls                         uint64
	setTID, setTIDSize, cgroup                    uint64
}

// failure is what the child writes when a step fails.
type failure struct{ step, errno uint32 }

// Run starts the process and returns once its program runs. The error is an
// *Error when a step failed. register is called with the process's number
// before it can be reaped, with whatever lock the caller needs.
func (p *Program) Run() (pid, pidfd int, err error) {
	report, reporter, err := os.Pipe()
	if err != nil {
		return 0, 0, fmt.Errorf("make a pipe: %w", err)
	}
	defer report.Close()
	pid, pidfd, err = p.fork(int(reporter.Fd()))
	reporter.Close()
	if err != nil {
		return 0, 0, err
	}
	var data [8]byte
	if n, _ := report.Read(data[:]); n < len(data) {
		return pid, pidfd, nil // closed by exec
	}
	at, errno := binary.NativeEndian.Uint32(data[:4]), syscall.Errno(binary.NativeEndian.Uint32(data[4:]))
	unix.Close(pidfd)
	return pid, 0, &Error{What: p.steps[at].what, Errno: errno, Exec: p.steps[at].call == unix.SYS_EXECVE}
}

// Error is a step that failed in the child.
type Error struct {
	What  string
	Errno syscall.Errno
	Exec  bool // the program itself could not be run
}

func (e *Error) Error() string { return e.What + ": " + e.Errno.Error() }
func (e *Error) Unwrap() error { return e.Errno }

func (p *Program) fork(report int) (pid, pidfd int, err error) {
	// The kernel is told where it is by a number, which the stack's moving would
	// not correct: the program keeps it elsewhere.
	fd := new(int32)
	p.keep = append(p.keep, fd)
	args := &cloneArgs{
		flags:      p.namespaces | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND,
		pidfd:      uint64(pointer(fd)),
		exitSignal: uint64(unix.SIGCHLD),
	}
	if p.cgroup >= 0 {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(p.cgroup)
	}
	leave, err := p.enterPIDNamespace()
	if err != nil {
		return 0, 0, err
	}
	defer leave()
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	fail := new(failure)
	n, errno := forkAndRun(args, p.steps, fail, uintptr(report))
	runtime.KeepAlive(p)
	if errno != 0 {
		return 0, 0, fmt.Errorf("fork: %w", errno)
	}
	return int(n), int(*fd), nil
}

// enterPIDNamespace makes this thread's children belong to another PID
// namespace until leave is called.
func (p *Program) enterPIDNamespace() (leave func(), err error) {
	if p.pidOf < 0 {
		return func() {}, nil
	}
	runtime.LockOSThread()
	if err := unix.Setns(p.pidOf, unix.CLONE_NEWPID); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("enter the PID namespace: %w", err)
	}
	return func() {
		own, err := os.Open("/proc/self/ns/pid")
		if err == nil {
			err = unix.Setns(int(own.Fd()), unix.CLONE_NEWPID)
			own.Close()
		}
		if err == nil {
			runtime.UnlockOSThread()
		} // Else the thread ends with this goroutine: nothing else may fork in it.
	}, nil
}

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

// forkAndRun forks and, in the child, makes the steps. Nothing in it may
// allocate or call a function that could grow the stack.
//
//go:noinline
//go:norace
func forkAndRun(args *cloneArgs, steps []step, fail *failure, report uintptr) (pid uintptr, errno syscall.Errno) {
	var (
		i, j        int
		saved, r, a uintptr
		s           *step
	)
	beforeFork()
	pid, _, errno = unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return pid, errno
	}
	for i = range steps {
		s = &steps[i]
		a = s.args[0]
		if s.saved {
			a = saved
		}
		r, _, errno = unix.RawSyscall6(s.call, a, s.args[1], s.args[2], s.args[3], s.args[4], s.args[5])
		for j = range s.ignore {
			if errno != 0 && errno == s.ignore[j] {
				errno = 0
				r = ^uintptr(0)
			}
		}
		if errno != 0 {
			break
		}
		if s.save {
			saved = r
		}
	}
	fail.step, fail.errno = uint32(i), uint32(errno)
	unix.RawSyscall(unix.SYS_WRITE, report, uintptr(unsafe.Pointer(fail)), unsafe.Sizeof(*fail))
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
	}
}

func pointer[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

// add appends a step and returns it for more to be said.
func (p *Program) add(what string, call uintptr, args ...uintptr) *step {
	s := step{call: call, what: what}
	copy(s.args[:], args)
	p.steps = append(p.steps, s)
	return &p.steps[len(p.steps)-1]
}

func (s *step) ignoring(errnos ...syscall.Errno) *step {
	copy(s.ignore[:], errnos)
	return s
}

// text keeps s as a C string.
func (p *Program) text(s string) uintptr {
	b := append([]byte(s), 0)
	p.keep = append(p.keep, &b[0])
	return pointer(&b[0])
}

// texts keeps list as a C array of strings.
func (p *Program) texts(list []string) uintptr {
	array := make([]uintptr, 0, len(list)+1)
	for _, s := range list {
		array = append(array, p.text(s))
	}
	array = append(array, 0)
	p.keep = append(p.keep, &array[0])
	return pointer(&array[0])
}
