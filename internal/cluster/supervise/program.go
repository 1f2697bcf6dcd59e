package supervise

import (
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// program is one supervised program across its restarts.
type program struct {
	spec    Spec
	log     io.WriteCloser
	stop    chan struct{} // closed when it must not be started again
	stopped chan struct{} // closed when it is gone for good

	mu      sync.Mutex
	status  Status      // guarded by mu
	process *os.Process // guarded by mu; nil while none runs
}

// lossy is a log that loses what it cannot write, as on a full disk. An error
// would end the reading of the program's output, and the next line that the
// program prints would end the program.
type lossy struct{ io.WriteCloser }

func (l lossy) Write(line []byte) (int, error) {
	_, _ = l.WriteCloser.Write(line)
	return len(line), nil
}

func (p *program) snapshot() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

func (p *program) started(process *os.Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.status.Started.IsZero() {
		p.status.Restarts++
	}
	p.process = process
	p.status.State, p.status.PID, p.status.Started = Running, process.Pid, time.Now()
	if p.stopping() {
		_ = process.Kill()
	}
}

// ended records an end and says whether it is the last one.
func (p *program) ended(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process = nil
	p.status.State, p.status.PID, p.status.LastExit = Waiting, 0, "exit status 0"
	if err != nil {
		p.status.LastExit = err.Error()
	}
	if !p.stopping() {
		return false
	}
	p.status.State = Stopped
	_ = p.log.Close()
	return true
}

func (p *program) end(grace time.Duration) {
	p.mu.Lock()
	if !p.stopping() {
		close(p.stop)
	}
	p.signal(syscall.SIGTERM)
	p.mu.Unlock()
	select {
	case <-p.stopped:
		return
	case <-time.After(grace):
	}
	p.mu.Lock()
	p.signal(syscall.SIGKILL)
	p.mu.Unlock()
	<-p.stopped
}

// again ends the process that runs now, if any.
func (p *program) again(grace time.Duration) {
	const pause = 10 * time.Millisecond
	p.mu.Lock()
	process := p.process
	p.signal(syscall.SIGTERM)
	p.mu.Unlock()
	for late := time.Now().Add(grace); p.runs(process); time.Sleep(pause) {
		if time.Now().After(late) {
			_ = process.Kill()
		}
	}
}

// runs says whether a process is the program's present one.
func (p *program) runs(process *os.Process) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return process != nil && p.process == process
}

// signal reaches the program if one runs; p.mu is held.
func (p *program) signal(sig os.Signal) {
	if p.process != nil {
		_ = p.process.Signal(sig)
	}
}

func (p *program) stopping() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}
