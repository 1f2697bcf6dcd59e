package jetstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// broker is a real server, whose streams are in dir.
func startServer(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	for range 1000 {
		if s.ReadyForConnections(10 * time.Millisecond) {
			return s
		}
	}
	t.Fatal("the server takes no connections")
	return nil
}

func port(s *server.Server) int { return s.Addr().(*net.TCPAddr).Port }

// desk is where messages are worked on, and counts them.
type desk struct {
	mu        sync.Mutex
	seen      map[string]int // by data
	dead      int
	following chan struct{}
	backlog   chan uint64
	once      sync.Once
	work      func(m Message, nth int) (bool, error)
}

func newDesk(work func(m Message, nth int) (bool, error)) *desk {
	return &desk{seen: map[string]int{}, following: make(chan struct{}), backlog: make(chan uint64, 100), work: work}
}

func (d *desk) count(data string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen[data]
}

func (d *desk) handler() Handler {
	return Handler{
		Work: func(_ context.Context, m Message) (bool, error) {
			d.mu.Lock()
			d.seen[string(m.Data)]++
			nth := d.seen[string(m.Data)]
			d.mu.Unlock()
			return d.work(m, nth)
		},
		Following: func() { d.once.Do(func() { close(d.following) }) },
		Backlog: func(n uint64) {
			select {
			case d.backlog <- n:
			default:
			}
		},
		GivenUp: func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.dead++
		},
	}
}

// follow follows until the test ends, or stop is called, over every loss.
func follow(t *testing.T, b *Broker, s Subscription, d *desk) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if err := b.Follow(ctx, s, d.handler()); err != nil {
				time.Sleep(50 * time.Millisecond)
			}
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	<-d.following
	return stop
}

func publish(t *testing.T, s *server.Server, subject string, data ...string) {
	t.Helper()
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, text := range data {
		m := &nats.Msg{Subject: subject, Data: []byte(text), Header: nats.Header{"Kind": {"test"}}}
		if _, err := conn.RequestMsg(m, patience); err != nil { // acknowledged by the stream
			t.Fatalf("publish %s: %v", text, err)
		}
	}
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 3000 {
		if done() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("it never happens that %s", what)
}

var subscription = Subscription{Namespace: "shop", Trigger: "paid", UID: "1", Function: "invoice", Topic: "orders.paid"}

func always(Message, int) (bool, error) { return true, nil }

// Each message comes; one that succeeded does not come again, whoever follows
// next; and those published meanwhile are not lost.
func TestMessagesAreDurable(t *testing.T) {
	s := startServer(t, t.TempDir(), server.RANDOM_PORT)
	b := New(s.ClientURL())
	defer b.Close()
	first := newDesk(func(m Message, _ int) (bool, error) {
		if m.Subject != "orders.paid" || m.ID == "" || m.Time.IsZero() || !slices.Equal(m.Header["Kind"], []string{"test"}) {
			return true, fmt.Errorf("the message is %+v", m)
		}
		return true, nil
	})
	stop := follow(t, b, subscription, first)
	publish(t, s, "orders.paid", "one", "two")
	await(t, "both are worked on", func() bool { return first.count("one") == 1 && first.count("two") == 1 })
	stop()
	publish(t, s, "orders.paid", "three")
	second := newDesk(always)
	follow(t, b, subscription, second)
	await(t, "the third is worked on", func() bool { return second.count("three") == 1 })
	if n := second.count("one") + second.count("two"); n != 0 {
		t.Errorf("%d messages came again after success", n)
	}
	// Another function of the same trigger gets every message, too.
	other, all := subscription, newDesk(always)
	other.Function = "audit"
	follow(t, b, other, all)
	publish(t, s, "orders.paid", "four")
	await(t, "both functions get the fourth", func() bool { return second.count("four") == 1 && all.count("four") == 1 })
}

func TestServerGoesAndComesBack(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, server.RANDOM_PORT)
	b := New(s.ClientURL())
	defer b.Close()
	gate := make(chan struct{})
	d := newDesk(func(m Message, _ int) (bool, error) {
		if string(m.Data) == "held" {
			<-gate
		}
		return true, nil
	})
	follow(t, b, subscription, d)
	publish(t, s, "orders.paid", "held")
	await(t, "work has begun", func() bool { return d.count("held") == 1 })
	at := port(s)
	s.Shutdown()
	s.WaitForShutdown()
	close(gate)
	s = startServer(t, dir, at)
	publish(t, s, "orders.paid", "after")
	await(t, "messages come again", func() bool { return d.count("after") >= 1 })
}

// A message that fails comes again; one that always does goes to the
// dead-letter subject and lets the others pass.
func TestPoisonGoesToTheDeadLetters(t *testing.T) {
	s := startServer(t, t.TempDir(), server.RANDOM_PORT)
	b := New(s.ClientURL())
	b.pause = 50 * time.Millisecond
	defer b.Close()
	d := newDesk(func(m Message, nth int) (bool, error) {
		switch string(m.Data) {
		case "poison":
			return true, errors.New("bad\nday")
		case "hiccup":
			if nth < 2 {
				return true, errors.New("once")
			}
		case "unreached":
			if nth <= tries {
				return false, errors.New("nobody there")
			}
			if nth == tries+1 {
				return true, errors.New("the first that was reached")
			}
		}
		return true, nil
	})
	follow(t, b, subscription, d)
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	dead, err := conn.SubscribeSync(subscription.Dead())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	publish(t, s, "orders.paid", "poison", "unreached", "hiccup", "fine")
	await(t, "the others pass", func() bool { return d.count("fine") == 1 && d.count("hiccup") == 2 })
	if d.count("poison") == tries {
		t.Error("the others waited for the poison")
	}
	m, err := dead.NextMsg(time.Minute)
	if err != nil {
		t.Fatalf("no dead message: %v", err)
	}
	if string(m.Data) != "poison" || m.Header.Get("Redoubt-Error") != "bad day" || m.Header.Get("Redoubt-Subject") != "orders.paid" ||
		m.Header.Get("Redoubt-Function") != "invoice" || m.Header.Get("Redoubt-Deliveries") != fmt.Sprint(tries) || m.Header.Get("Kind") != "test" {
		t.Errorf("the dead message is %q with %v", m.Data, m.Header)
	}
	await(t, "what reached nobody is tried more often", func() bool { return d.count("unreached") == tries+2 })
	if n := d.count("poison"); n != tries || d.dead != 1 {
		t.Errorf("the poison was worked on %d times, and %d messages are dead", n, d.dead)
	}
}

// What is published is kept where a stream has the topic, once for each message,
// and heard by who listens where none has.
func TestAnswersArePublished(t *testing.T) {
	s := startServer(t, t.TempDir(), server.RANDOM_PORT)
	b := New(s.ClientURL())
	defer b.Close()
	d := newDesk(func(m Message, _ int) (bool, error) { return true, nil })
	next := subscription
	next.Topic = "invoices"
	follow(t, b, next, d)
	answer := Message{Header: map[string][]string{"ce-id": {"1"}}, Data: []byte("kept")}
	for range 2 {
		if err := b.Publish(t.Context(), subscription, "invoices", "orders-7", answer); err != nil {
			t.Fatal(err)
		}
	}
	answer.Data = []byte("next")
	if err := b.Publish(t.Context(), subscription, "invoices", "orders-8", answer); err != nil {
		t.Fatal(err)
	}
	await(t, "the answers come", func() bool { return d.count("next") == 1 })
	if n := d.count("kept"); n != 1 {
		t.Errorf("the first answer came %d times", n)
	}
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	heard, err := conn.SubscribeSync("nobody.keeps")
	if err != nil || conn.Flush() != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), subscription, "nobody.keeps", "orders-7", answer); err != nil {
		t.Fatal(err)
	}
	if m, err := heard.NextMsg(time.Minute); err != nil || string(m.Data) != "next" || m.Header.Get("ce-id") != "1" {
		t.Errorf("heard %+v, %v", m, err)
	}
}

func TestBacklogIsTold(t *testing.T) {
	s := startServer(t, t.TempDir(), server.RANDOM_PORT)
	b := New(s.ClientURL())
	defer b.Close()
	hold := make(chan struct{})
	d := newDesk(func(Message, int) (bool, error) { <-hold; return true, nil })
	defer close(hold)
	follow(t, b, subscription, d)
	var texts []string
	for n := range workers + 5 {
		texts = append(texts, fmt.Sprint(n))
	}
	publish(t, s, "orders.paid", texts...)
	for n := range d.backlog {
		if n == workers+5 {
			return
		}
	}
}

// What is forgotten is not kept for; and nobody who cannot be reached is
// waited for.
func TestForgetAndFailure(t *testing.T) {
	s := startServer(t, t.TempDir(), server.RANDOM_PORT)
	b := New(s.ClientURL())
	defer b.Close()
	d := newDesk(always)
	follow(t, b, subscription, d)()
	for range 2 {
		if err := b.Forget(t.Context(), subscription); err != nil {
			t.Fatal(err)
		}
	}
	gone := New("nats://user:secret@127.0.0.1:1")
	defer gone.Close()
	if err := gone.Follow(t.Context(), subscription, d.handler()); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("a server that is not there: %v", err)
	}
}

func TestPause(t *testing.T) {
	for n, want := range map[uint64]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 7: time.Minute, 1000: time.Minute} {
		if got := pause(firstPause, n); got != want {
			t.Errorf("after %d tries: %v, want %v", n, got, want)
		}
	}
}
