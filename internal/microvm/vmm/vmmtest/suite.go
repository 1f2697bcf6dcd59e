package vmmtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/tap"
	"redoubt.dev/redoubt/internal/microvm/vmm"
)

// patience is far beyond what any step takes on a busy machine.
const patience = time.Minute

// Config is a small machine to test with, whose card is connected to nothing.
func Config(t testing.TB) vmm.Config {
	t.Helper()
	card, err := tap.Unconnected()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = card.Close() })
	return vmm.Config{
		Shape: vmm.Shape{Accelerator: vmm.Emulation, CPUs: 2, Memory: 128 << 20, MaxMemory: 512 << 20},
		Tap:   card, UID: 65600, GID: 65601,
	}
}

// Context ends with patience.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// Shell runs commands in a guest that has one.
type Shell struct {
	t   testing.TB
	m   vmm.Machine
	out *bufio.Reader
}

// NewShell is the shell in m, which is ready.
func NewShell(t testing.TB, m vmm.Machine) *Shell {
	return &Shell{t, m, bufio.NewReader(m.Channel())}
}

// Run runs a line and returns what it printed. It fails the test when the
// line fails.
func (s *Shell) Run(line string) string {
	s.t.Helper()
	_ = s.m.Channel().SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintln(s.m.Channel(), line); err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	return s.result(line)
}

// result is what the line that was sent printed.
func (s *Shell) result(line string) string {
	s.t.Helper()
	_ = s.m.Channel().SetDeadline(time.Now().Add(patience))
	var printed strings.Builder
	for {
		text, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%s: %v after %q", line, err, printed.String())
		}
		if status, ok := strings.CutPrefix(text, "end "); ok {
			if status != "0\n" {
				s.t.Fatalf("%s: status %s, printed %q", line, strings.TrimSpace(status), printed.String())
			}
			return printed.String()
		}
		printed.WriteString(text)
	}
}

// Await runs a line until it succeeds.
func (s *Shell) Await(line string) { s.t.Helper(); s.Run("until " + line + "; do sleep 0.01; done") }

// Run tests a machine that start starts, with a shell that is ready. It ends
// the machine.
func Run(t *testing.T, start func(t *testing.T) vmm.Machine) {
	m := start(t)
	defer m.Kill()
	sh := NewShell(t, m)
	ctx := Context(t)
	t.Run("disks", func(t *testing.T) { testDisks(ctx, t, m, sh) })
	t.Run("memory", func(t *testing.T) { testMemory(ctx, t, m, sh) })
	t.Run("processors", func(t *testing.T) { testCPUs(t, sh) })
	t.Run("pause", func(t *testing.T) { testPause(ctx, t, m, sh) })
	t.Run("jail", func(t *testing.T) { testJail(t, m) })
	t.Run("killed", func(t *testing.T) { testKilled(ctx, t, m) })
}

func testDisks(ctx context.Context, t *testing.T, m vmm.Machine, sh *Shell) {
	content := bytes.Repeat([]byte("redoubt!"), 1<<17)
	path := filepath.Join(t.TempDir(), "disk")
	write(t, path, content)
	read, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	written, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	at, err := m.AddDisk(ctx, vmm.Disk{File: read, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	second, err := m.AddDisk(ctx, vmm.Disk{File: written})
	if err != nil {
		t.Fatal(err)
	}
	if at == second {
		t.Fatalf("two disks at one address, %d", at)
	}
	for _, a := range []vmm.DiskAddress{at, second} {
		sh.Await(fmt.Sprintf("[ -b /dev/$(ls /sys/class/scsi_device/*:0:%d:0/device/block 2>/dev/null) ]", a))
		sh.Run(fmt.Sprintf("d%d=/dev/$(ls /sys/class/scsi_device/*:0:%d:0/device/block)", a, a))
	}
	if got := sh.Run(fmt.Sprintf("wc -c < $d%d; head -c 8 $d%d; echo", at, at)); got != fmt.Sprintf("%d\nredoubt!\n", len(content)) {
		t.Errorf("the guest reads %q", got)
	}
	sh.Run(fmt.Sprintf("! echo changed 2>/dev/null > $d%d", at))
	sh.Run(fmt.Sprintf("echo changed > $d%d && sync", second))
	if data, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(data, []byte("changed\n")) {
		t.Errorf("what the guest wrote is not in the file: %.8q, %v", data, err)
	}
	for _, a := range []vmm.DiskAddress{at, second} {
		if err := m.RemoveDisk(ctx, a); err != nil {
			t.Errorf("remove disk %d: %v", a, err)
		}
		sh.Await(fmt.Sprintf("[ ! -e /sys/class/scsi_device/0:0:%d:0 ]", a))
	}
	if holds(t, m.PID(), path) {
		t.Error("the machine holds a disk's file after its removal")
	}
}

func testMemory(ctx context.Context, t *testing.T, m vmm.Machine, sh *Shell) {
	before := kilobytes(t, sh)
	for _, want := range []int64{256 << 20, 128 << 20} {
		got, err := m.SetMemory(ctx, want)
		if err != nil || got != want {
			t.Fatalf("set memory to %d: %d, %v", want, got, err)
		}
		kb := before + (want-128<<20)>>10
		sh.Await(fmt.Sprintf(`[ $(sed -n 's/MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo) -eq %d ]`, kb))
	}
	if _, err := m.SetMemory(ctx, 1<<40); err == nil {
		t.Error("memory beyond the machine's maximum is accepted")
	}
}

func kilobytes(t *testing.T, sh *Shell) int64 {
	kb, err := strconv.ParseInt(strings.TrimSpace(sh.Run(`sed -n 's/MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo`)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb
}

func testCPUs(t *testing.T, sh *Shell) {
	for _, step := range []struct{ line, want string }{
		{"nproc", "1\n"},
		{"echo 1 > /sys/devices/system/cpu/cpu1/online && nproc", "2\n"},
		{"echo 0 > /sys/devices/system/cpu/cpu1/online && nproc", "1\n"},
	} {
		if got := sh.Run(step.line); got != step.want {
			t.Errorf("%s says %q, want %q", step.line, got, step.want)
		}
	}
}

func testPause(ctx context.Context, t *testing.T, m vmm.Machine, sh *Shell) {
	if err := errors.Join(m.Pause(ctx), m.Pause(ctx)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(m.Channel(), "echo woken")
	_ = m.Channel().SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := sh.out.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a paused guest answers: %v", err)
	}
	if err := errors.Join(m.Resume(ctx), m.Resume(ctx)); err != nil {
		t.Fatal(err)
	}
	if got := sh.result("echo woken"); got != "woken\n" {
		t.Errorf("a resumed guest says %q", got)
	}
}

func testKilled(ctx context.Context, t *testing.T, m vmm.Machine) {
	if err := unix.Kill(m.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-m.Done():
	case <-ctx.Done():
		t.Fatal("the end of the machine's process is not noticed")
	}
	if exit := m.Exit(); !strings.Contains(exit.Reason, "killed") || exit.At.IsZero() {
		t.Errorf("exit = %+v, want a reason that says killed", exit)
	}
	if _, err := m.AddDisk(ctx, vmm.Disk{File: os.Stdin}); !errors.Is(err, vmm.ErrEnded) {
		t.Errorf("add a disk to an ended machine: %v, want ErrEnded", err)
	}
	if err := m.Pause(ctx); !errors.Is(err, vmm.ErrEnded) {
		t.Errorf("pause an ended machine: %v, want ErrEnded", err)
	}
	_ = m.Channel().SetReadDeadline(time.Now().Add(patience))
	if n, err := m.Channel().Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the channel of an ended machine: %d bytes, %v, want its end", n, err)
	}
	m.Kill()
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", m.PID())); err == nil {
		t.Error("the machine's process is still there")
	}
}
