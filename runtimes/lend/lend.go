package lend

import (
	"fmt"
	"maps"
	"net"
	"os"
	"sync"
	"time"

	"redoubt.dev/redoubt/runtimes/contract"
)

const (
	// grace is what a function has to answer by itself when its context ends.
	grace = 100 * time.Millisecond
	// pause is at least between two starts, unless a call ends the program: that is
	// no reason for the next to wait.
	pause = time.Second
)

var (
	errEnded  = contract.Problemf(500, "the function's process ended without an answer: it exited, crashed or ran out of memory")
	errBeside = contract.Problemf(500, "another call of the function ran past its time, and its process was stopped; try again")
	errBroken = contract.Problemf(500, "the function's process ended without an answer: it exited before it served")
)

// lender keeps connections, and a program that answers their requests.
type lender struct {
	program string
	board   *board
	file    *os.File // the board's
	timeout time.Duration
	free    chan uint32 // numbers of connections
	tried   func()      // says that the program has been loaded, or could not be
	broken  queue       // connections that no program answers

	mu          sync.Mutex
	connections map[uint32]*kept
	borrower    *process // nil while none is loaded
	unloadable  bool     // the last that was started
}

// Lend accepts connections and lends them to a program that calls Borrow. The error
// is that nothing can be served.
func Lend(program string) error {
	b, file, err := newBoard()
	if err != nil {
		return err
	}
	tried := make(chan struct{})
	l := &lender{
		program: program, board: b, file: file, timeout: contract.Timeout(),
		free: make(chan uint32, most), tried: sync.OnceFunc(func() { close(tried) }), broken: make(queue),
		connections: map[uint32]*kept{},
	}
	for n := range uint32(most) {
		l.free <- n
	}
	go l.broken.serve(b)
	go l.run()
	go l.watch()
	<-tried
	listener, err := net.Listen("tcp", contract.Address())
	if err != nil {
		return err
	}
	for {
		number := <-l.free
		c, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accept connections: %w", err)
		}
		l.accept(number, c.(*net.TCPConn))
	}
}

func (l *lender) accept(number uint32, c *net.TCPConn) {
	l.mu.Lock()
	to, broken := l.borrower, l.unloadable
	if broken {
		l.mu.Unlock()
		l.free <- number
		l.broken <- c
		return
	}
	k, err := keep(c)
	if err != nil {
		l.mu.Unlock()
		l.free <- number
		return
	}
	l.board.slots[number].phase.Store(waits)
	l.connections[number] = k
	l.mu.Unlock()
	if to != nil { // or else it is lent to the next
		to.lend(number, k)
	}
}

// run starts the program, again and again.
func (l *lender) run() {
	for {
		began := time.Now()
		p, err := start(l.program, l.file)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s cannot be started: %v\n", l.program, err)
		} else {
			p.hear(func() { l.loaded(p) }, l.close)
			p.wait()
		}
		if !l.ended(p) {
			time.Sleep(pause - time.Since(began))
		}
	}
}

// loaded lends all connections there are to a program that takes them.
func (l *lender) loaded(p *process) {
	l.mu.Lock()
	l.borrower, l.unloadable = p, false
	all := maps.Clone(l.connections)
	l.mu.Unlock()
	l.tried()
	for number, c := range all {
		p.lend(number, c)
	}
}

// close closes a connection that the program has closed.
func (l *lender) close(number uint32) {
	l.mu.Lock()
	c := l.connections[number]
	delete(l.connections, number)
	l.mu.Unlock()
	if c != nil {
		c.close()
		l.free <- number
	}
}

// ended answers for a program that has ended, nil if it did not even start, and
// says whether calls ran in it. Connections that wait for a request are kept.
func (l *lender) ended(p *process) (called bool) {
	l.mu.Lock()
	l.borrower, l.unloadable = nil, l.borrower == nil
	var left []uint32
	for number := range l.connections {
		if l.unloadable || l.board.slots[number].phase.Load() != waits {
			left = append(left, number)
		}
	}
	for _, number := range left {
		c, s := l.connections[number], &l.board.slots[number]
		switch s.phase.Load() {
		case calls:
			called = true
			p.answer(c, s, l.board)
		case reads, answers:
			c.answer(contract.Failure(p.cause()), "")
		}
		c.close()
		delete(l.connections, number)
	}
	l.mu.Unlock()
	for _, number := range left {
		l.free <- number
	}
	l.tried()
	return called
}

// watch ends a program with a call that runs past its time. What begins after it
// has looked is not late before it looks again.
func (l *lender) watch() {
	for {
		time.Sleep(max(l.look(), 10*time.Millisecond))
	}
}

// look returns how long no call will be late.
func (l *lender) look() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.timeout + grace
	if l.borrower == nil {
		return left
	}
	for number := range l.connections {
		if s := &l.board.slots[number]; s.phase.Load() == calls {
			left = min(left, l.timeout+grace-l.borrower.took(s))
		}
	}
	if left <= 0 {
		l.borrower.stop(l.timeout)
	}
	return left
}
