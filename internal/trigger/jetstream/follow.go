package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	// ackWait is after how long without a sign of life a message is given to
	// another; it is renewed three times as often.
	ackWait = 30 * time.Second
	// workers is how many messages of one subscription are worked on at a
	// time, and maxPending how many may wait for their next try.
	workers    = 10
	maxPending = 1000
	// tries is how often a message is worked on without success, and
	// patientTries how often where it did not come to be worked on at all.
	tries        = 5
	patientTries = 100
	// firstPause is the pause after the first try; it doubles up to maxPause.
	firstPause = time.Second
	maxPause   = time.Minute
	// lookPause is how often the backlog is asked for.
	lookPause = 10 * time.Second
	// maxSaid bounds the reason in a dead message, in bytes.
	maxSaid = 500
)

// Message is one to work on.
type Message struct {
	// ID is the same whenever the message comes.
	ID      string
	Subject string
	Header  map[string][]string
	Data    []byte
	// Time is when it was published.
	Time time.Time
}

// Handler is what a subscription's messages are for.
type Handler struct {
	// Work is done on every message. An error is tried again; reached says
	// that it was begun at all.
	Work func(ctx context.Context, m Message) (reached bool, err error)
	// Following is called when messages come, Backlog with how many wait, and
	// GivenUp for each that goes to the dead letters.
	Following func()
	Backlog   func(n uint64)
	GivenUp   func()
}

// Follow hands messages to h until ctx ends, or until the server must be asked
// anew, which the error is about.
func (b *Broker) Follow(ctx context.Context, s Subscription, h Handler) error {
	js, err := b.connect()
	if err != nil {
		return err
	}
	consumer, err := b.consumer(ctx, js, s)
	if err != nil {
		return err
	}
	h.Following()
	f := &follower{Subscription: s, Handler: h, js: js, consumer: consumer, pause: b.pause}
	group, failed := errgroup.WithContext(ctx)
	for range workers {
		group.Go(func() error { return f.work(failed) })
	}
	group.Go(func() error { return f.look(failed) })
	err = group.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

type follower struct {
	Subscription
	Handler
	js       jetstream.JetStream
	consumer jetstream.Consumer
	pause    time.Duration // after the first try
	worked   worked
}

// work takes one message after the other. None is fetched ahead of its work:
// it would run out of its time.
func (f *follower) work(ctx context.Context) error {
	for ctx.Err() == nil {
		msg, err := f.consumer.Next(jetstream.FetchContext(ctx))
		switch {
		case err == nil:
			f.handle(ctx, msg)
		case errors.Is(err, nats.ErrTimeout), errors.Is(err, context.Canceled):
		default:
			return fmt.Errorf("wait for messages of %s: %w", f.Topic, err)
		}
	}
	return nil
}

// look tells how many messages wait.
func (f *follower) look(ctx context.Context) error {
	ticker := time.NewTicker(lookPause)
	defer ticker.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, patience)
		info, err := f.consumer.Info(limited)
		cancel()
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("ask for the backlog of %s: %w", f.Topic, err)
		}
		if err == nil {
			f.Backlog(info.NumPending + uint64(info.NumAckPending))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (f *follower) handle(ctx context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil { // no message of a stream
		_ = msg.Term()
		return
	}
	alive, rest := context.WithCancel(ctx)
	go keepAlive(alive, msg)
	reached, failed := f.Work(ctx, Message{
		ID: meta.Stream + "-" + strconv.FormatUint(meta.Sequence.Stream, 10), Subject: msg.Subject(),
		Header: msg.Headers(), Data: msg.Data(), Time: meta.Timestamp,
	})
	rest()
	if ctx.Err() != nil {
		return // it comes again, here or elsewhere
	}
	if err := f.settle(ctx, msg, meta, reached, failed); err != nil {
		slog.Warn("a message may come again", "namespace", f.Namespace, "trigger", f.Trigger, "function", f.Function, "error", err)
	}
}

// keepAlive keeps a message from being given to another while it is worked on.
func keepAlive(ctx context.Context, msg jetstream.Msg) {
	ticker := time.NewTicker(ackWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = msg.InProgress()
		}
	}
}

// settle says what becomes of a message after its work.
func (f *follower) settle(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, reached bool, failed error) error {
	delivered, place := meta.NumDelivered, meta.Sequence.Stream
	if failed == nil {
		f.worked.forget(place)
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return msg.DoubleAck(ctx)
	}
	slog.Warn("a message's call failed", "namespace", f.Namespace, "trigger", f.Trigger, "function", f.Function, "try", delivered, "error", failed)
	if !giveUp(delivered, f.worked.count(place, reached), reached) {
		return msg.NakWithDelay(pause(f.pause, delivered))
	}
	if err := f.bury(ctx, msg, delivered, failed); err != nil {
		return errors.Join(err, msg.NakWithDelay(maxPause))
	}
	f.worked.forget(place)
	f.GivenUp()
	return msg.Term()
}

// giveUp says that a message is not tried again if it has failed: it was delivered
// so often, and so often worked on.
func giveUp(delivered uint64, worked int, reached bool) bool {
	return reached && worked >= tries || delivered >= patientTries
}

// pause is how long a message waits after so many tries.
func pause(first time.Duration, delivered uint64) time.Duration {
	p := first
	for n := uint64(1); n < delivered && p < maxPause; n++ {
		p *= 2
	}
	return min(p, maxPause)
}

// bury publishes a message to the dead-letter subject, with why. A second time
// is noticed by the server.
func (f *follower) bury(ctx context.Context, msg jetstream.Msg, delivered uint64, failed error) error {
	why := failed.Error()
	dead := &nats.Msg{Subject: f.Dead(), Data: msg.Data(), Header: nats.Header{}}
	for name, values := range msg.Headers() {
		if !strings.HasPrefix(name, "Nats-") { // what was asked of the server then
			dead.Header[name] = values
		}
	}
	dead.Header.Set("Redoubt-Subject", msg.Subject())
	dead.Header.Set("Redoubt-Function", f.Function)
	dead.Header.Set("Redoubt-Deliveries", strconv.FormatUint(delivered, 10))
	dead.Header.Set("Redoubt-Error", oneLine(why[:min(len(why), maxSaid)]))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	id := f.durable()
	if meta, err := msg.Metadata(); err == nil {
		id += "-" + strconv.FormatUint(meta.Sequence.Stream, 10)
	}
	if _, err := f.js.PublishMsg(ctx, dead, jetstream.WithMsgID(id)); err != nil {
		return fmt.Errorf("publish to %s: %w", f.Dead(), err)
	}
	return nil
}

// oneLine makes a text fit for a header.
func oneLine(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = ' '
		}
	}
	return string(b)
}
