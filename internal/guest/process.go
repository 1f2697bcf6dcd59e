package guest

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/guest/launch"
	"redoubt.dev/redoubt/internal/wire"
)

// drainTime is how long a process's output is awaited after its end: another
// process may hold the same pipe open.
const drainTime = 2 * time.Second

// process is one that the host asked for.
type process struct {
	files *stdio
	// after, if set, is called once the process has ended. It must not block.
	after func()

	mu     sync.Mutex // guards what follows
	pid    int        // 0 until it runs
	pidfd  int        // -1 unless it runs
	exit   wire.Exit
	exited chan struct{} // closed at its end
}

func newProcess(files *stdio) *process {
	return &process{files: files, pidfd: -1, exited: make(chan struct{})}
}

// running says whether the process runs.
func (p *process) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pidfd >= 0
}

// descriptor returns a pidfd of the process, if it runs, which the caller
// closes. The process's own is closed at its end, from when on the number may
// be another file's.
func (p *process) descriptor() (pidfd int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd < 0 {
		return -1, false
	}
	pidfd, err := unix.FcntlInt(uintptr(p.pidfd), unix.F_DUPFD_CLOEXEC, 0)
	return pidfd, err == nil
}

func (p *process) started() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid > 0
}

// signal sends one; a process that is gone is errdefs.ErrNotFound.
func (p *process) signal(number uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd < 0 {
		return fmt.Errorf("%w: process already finished", errdefs.ErrNotFound)
	}
	if err := unix.PidfdSendSignal(p.pidfd, unix.Signal(number), nil, 0); errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%w: process already finished", errdefs.ErrNotFound)
	} else if err != nil {
		return fmt.Errorf("send signal %d: %w", number, err)
	}
	return nil
}

// ended records the end. Each process ends once.
func (p *process) ended(status unix.WaitStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exit = wire.Exit{At: time.Now().UnixNano(), Status: uint32(status.ExitStatus())}
	if status.Signaled() {
		p.exit.Status = 128 + uint32(status.Signal())
	}
	unix.Close(p.pidfd)
	p.pidfd = -1
	close(p.exited)
}

// await returns how the process ended, once its output is sent.
func (p *process) await() wire.Exit {
	<-p.exited
	p.files.drained(drainTime)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// table knows the machine's processes by number and reaps them.
type table struct {
	mu      sync.Mutex // guards running
	running map[int]*process
}

func newTable() *table { return &table{running: map[int]*process{}} }

// start runs program as p. The lock is held from fork to registration: p could
// end in between and its end be lost.
func (t *table) start(program *launch.Program, p *process) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	pid, pidfd, err := program.Run()
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.pid, p.pidfd = pid, pidfd
	p.mu.Unlock()
	t.running[pid] = p
	return nil
}

// reap collects every process that ends: as the machine's first process, the
// agent is the parent of all that lose theirs.
func (t *table) reap() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	for range signals {
		for t.reapOne() {
		}
	}
}

func (t *table) reapOne() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	var status unix.WaitStatus
	pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
	if errors.Is(err, unix.EINTR) {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	if p, known := t.running[pid]; known {
		delete(t.running, pid)
		p.ended(status)
		if p.after != nil {
			p.after()
		}
	}
	return true
}
