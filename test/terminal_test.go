package test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"redoubt.dev/redoubt/test/platform"
)

// terminal is a user's terminal with a program in it.
type terminal struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd

	mu     sync.Mutex
	screen strings.Builder // guarded by mu; all that was ever written
}

// openTerminal runs a command in a new terminal of the given size, which ends
// with the test.
func openTerminal(t *testing.T, rows, columns uint16, cmd *exec.Cmd) *terminal {
	t.Helper()
	// Not in blocking mode, so that closing it ends its reader.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, master: os.NewFile(uintptr(fd), "terminal"), cmd: cmd}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = io.Copy(term, term.master) })
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		term.master.Close()
		reader.Wait()
	})
	return term
}

// Write is what the program shows.
func (term *terminal) Write(data []byte) (int, error) {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.screen.Write(data)
}

// keys types text.
func (term *terminal) keys(text string) {
	term.t.Helper()
	if _, err := term.master.WriteString(text); err != nil {
		term.t.Fatal(err)
	}
}

// shows waits until the text has been shown.
func (term *terminal) shows(text string) {
	term.t.Helper()
	platform.Eventually(term.t, fmt.Sprintf("the terminal shows %q", text), func() error {
		term.mu.Lock()
		defer term.mu.Unlock()
		if screen := term.screen.String(); !strings.Contains(screen, text) {
			return fmt.Errorf("it shows %q", screen)
		}
		return nil
	})
}
