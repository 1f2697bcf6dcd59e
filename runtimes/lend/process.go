package lend

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"redoubt.dev/redoubt/runtimes/contract"
)

// process is the program, seen from the server.
type process struct {
	cmd     *exec.Cmd
	channel *net.UnixConn
	began   time.Time     // when it was loaded; its times are from then
	late    time.Duration // what began until then ran past its time; 0 where nothing did
}

// start runs the program, which is not loaded yet.
func start(program string, board *os.File) (*process, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "channel"), os.NewFile(uintptr(fds[1]), "channel")
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	_ = ours.Close()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs, board}
	// The program's own children end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &process{cmd: cmd, channel: conn.(*net.UnixConn)}, nil
}

// hear returns when the program says no more.
func (p *process) hear(isLoaded func(), closed func(number uint32)) {
	for said := make([]byte, 4); ; {
		if n, err := p.channel.Read(said); err != nil || n != len(said) {
			return
		}
		switch number := binary.BigEndian.Uint32(said); {
		case number != loaded:
			closed(number)
		case p.began.IsZero():
			p.began = time.Now()
			isLoaded()
		}
	}
}

// wait ends what is left of the program.
func (p *process) wait() {
	p.kill()
	if err := p.cmd.Wait(); err != nil {
		fmt.Fprintf(os.Stderr, "the program ended: %v\n", err)
	}
	_ = p.channel.Close()
}

func (p *process) kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// lend sends a copy of a connection. One that does not arrive is lent to the next
// program.
func (p *process) lend(number uint32, c *kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		_, _, _ = p.channel.WriteMsgUnix(binary.BigEndian.AppendUint32(nil, number), syscall.UnixRights(c.fd), nil)
	}
}

// took is how long a call has run.
func (p *process) took(s *slot) time.Duration {
	return time.Since(p.began) - time.Duration(s.since.Load())
}

// stop ends the program, in which calls have run for longer than they may.
func (p *process) stop(timeout time.Duration) {
	if p.late == 0 {
		p.late = time.Since(p.began) - timeout
		p.kill()
	}
}

// cause is why the program has ended, for whom it did not answer.
func (p *process) cause() error {
	if p.late > 0 {
		return errBeside
	}
	return errEnded
}

// answer answers the call of a slot, which is counted and logged, for the program.
func (p *process) answer(c *kept, s *slot, b *board) {
	why := p.cause()
	if time.Duration(s.since.Load()) <= p.late {
		why = contract.Late()
	}
	line, a, took := s.line(), contract.Failure(why), p.took(s)
	b.Record(line.Method, took, true)
	line.Write(a, took)
	c.answer(a, line.Method)
}
