package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Calls is the argument, before the number of the first one, with which the
// program that calls Figures starts itself to make system calls.
const Calls = "calls"

const (
	// lastCall is the greatest number that Linux 6.18 has a call for, on amd64 and
	// arm64, and patience how long one may take.
	lastCall = 470
	patience = 2 * time.Second
)

// systemCalls counts the calls that the sandbox answers with something other than
// that it does not have them (ENOSYS) or does not permit them (EPERM): what of
// the kernel behind it a program can reach. They are made with arguments that
// mean nothing, by processes of their own: one that ends at a call has reached it.
func systemCalls() (answered int, err error) {
	for next := 0; next <= lastCall; {
		said, last, err := callFrom(next)
		if err != nil {
			return 0, err
		}
		answered += said
		next = last + 1
		if next <= lastCall {
			answered++ // the process did not survive it
			next++
		}
	}
	return answered, nil
}

// callFrom has a process make the calls from a number on. It returns how many
// were answered, and the last one that was made and survived.
func callFrom(first int) (answered, last int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", Calls, strconv.Itoa(first))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	last = first - 1
	waits := time.AfterFunc(patience, cancel)
	defer waits.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); waits.Reset(patience) {
		var yes bool
		if _, err := fmt.Sscan(lines.Text(), &last, &yes); err != nil {
			return 0, 0, fmt.Errorf("the child says %q: %w", lines.Text(), err)
		}
		if yes {
			answered++
		}
	}
	_ = cmd.Wait() // however it ended
	return answered, last, nil
}

// MakeCalls makes the calls from a number on, and writes a line for each when it is
// over: its number, and whether it was answered.
func MakeCalls(first string) error {
	next, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	const nothing = ^uintptr(0)
	out := int(os.Stdout.Fd())
	for ; next <= lastCall; next++ {
		yes := false
		if !slices.Contains(harmful, next) {
			_, _, errno := unix.RawSyscall6(uintptr(next), nothing, nothing, nothing, nothing, nothing, nothing)
			yes = !errors.Is(errno, unix.ENOSYS) && !errors.Is(errno, unix.EPERM)
		}
		if _, err := unix.Write(out, fmt.Appendf(nil, "%d %t\n", next, yes)); err != nil {
			return err
		}
	}
	return nil
}
