// Package lend lets the program of a function read requests and answer them
// itself, although it may have to be stopped, or may end, at any time.
//
// The server accepts connections, keeps them, and lends the program a copy of each.
// The program says in memory that both see, the board, what it is at with each.
// When a call runs past its time the server ends the program; it answers for the
// calls of one that has ended, and starts another. Who serves without a program
// that may end in a call has no need of this.
package lend

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"redoubt.dev/redoubt/runtimes/contract"
)

const (
	// most is how many connections there are at the same time.
	most = 1024
	// slotSize is in bytes.
	slotSize = 4096
)

// What the program is at with a connection.
const (
	waits   = iota // for a request, of which it has taken nothing
	reads          // a request, or answers what is no call
	calls          // the function
	answers        // a call that is counted
	sends          // the answer of a call
)

// slot is what is said of one connection.
type slot struct {
	phase  atomic.Int64
	since  atomic.Int64 // nanoseconds after the program was loaded
	length atomic.Int64 // of the note
	note   [slotSize - 3*8]byte
}

// enter says that a call begins, and what is to be logged of it: the parts of its
// line, as much as there is room for.
func (s *slot) enter(line contract.Line, since time.Duration) {
	length := 0
	for _, part := range [...]string{line.Method, "\x00", line.ID, "\x00", line.Path} {
		length += copy(s.note[length:], part)
	}
	s.length.Store(int64(length))
	s.since.Store(int64(since))
	s.phase.Store(calls)
}

// line is a call's, of a program that may have written anything.
func (s *slot) line() contract.Line {
	note := string(s.note[:min(max(s.length.Load(), 0), int64(len(s.note)))])
	method, note, _ := strings.Cut(note, "\x00")
	id, path, _ := strings.Cut(note, "\x00")
	return contract.Line{Method: method, Path: path, ID: id}
}

type count struct{ calls, failures, nanoseconds atomic.Int64 }

// board is the memory that the server and the program see.
type board struct {
	slots  [most]slot
	counts [contract.Methods]count // by contract.MethodAt
}

// newBoard makes a board and its file.
func newBoard() (*board, *os.File, error) {
	name := []byte("board\x00")
	fd, _, errno := syscall.Syscall(sysMemfdCreate, uintptr(unsafe.Pointer(&name[0])), 1 /* closed on exec */, 0)
	if errno != 0 {
		return nil, nil, fmt.Errorf("make shared memory: %w", errno)
	}
	file := os.NewFile(fd, "board")
	if err := file.Truncate(int64(unsafe.Sizeof(board{}))); err != nil {
		return nil, nil, fmt.Errorf("size shared memory: %w", err)
	}
	b, err := openBoard(file)
	return b, file, err
}

// openBoard is the board in a file.
func openBoard(file *os.File) (*board, error) {
	memory, err := syscall.Mmap(int(file.Fd()), 0, int(unsafe.Sizeof(board{})), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map shared memory: %w", err)
	}
	return (*board)(unsafe.Pointer(&memory[0])), nil
}

// Record counts a call that is over.
func (b *board) Record(method string, took time.Duration, failed bool) {
	of := &b.counts[contract.MethodAt(method)]
	of.calls.Add(1)
	of.nanoseconds.Add(int64(took))
	if failed {
		of.failures.Add(1)
	}
}

// Text has the counts in Kubeless's names.
func (b *board) Text() string {
	var all [contract.Methods]contract.Count
	for at := range b.counts {
		of := &b.counts[at]
		all[at] = contract.Count{Calls: of.calls.Load(), Failures: of.failures.Load(), Seconds: time.Duration(of.nanoseconds.Load()).Seconds()}
	}
	return contract.Metrics(all)
}
