package jetstream

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// A trigger of a topic gets all of it, though one of a part was there before.
func TestStreamIsWidened(t *testing.T) {
	s := startServer(t, t.TempDir(), server.RANDOM_PORT)
	b := New(s.ClientURL())
	defer b.Close()
	part, all := newDesk(always), newDesk(always)
	follow(t, b, subscription, part)
	wide := subscription
	wide.Trigger, wide.UID, wide.Topic = "all", "2", "orders.>"
	follow(t, b, wide, all)
	publish(t, s, "orders.sent", "sent")
	publish(t, s, "orders.paid", "paid")
	await(t, "both get theirs", func() bool {
		return all.count("sent") == 1 && all.count("paid") == 1 && part.count("paid") == 1
	})
	if n := part.count("sent"); n != 0 {
		t.Errorf("the one of a part got another's message %d times", n)
	}
}

// Where somebody else's stream has a part of a topic, that is an error.
func TestStreamHasOnlyAPart(t *testing.T) {
	s := startServer(t, t.TempDir(), server.RANDOM_PORT)
	b := New(s.ClientURL())
	defer b.Close()
	js := streamsOf(t, b)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "shop", Subjects: []string{"orders.*"}}); err != nil {
		t.Fatal(err)
	}
	follow(t, b, subscription, newDesk(always)) // the stream has all of that one
	wide := subscription
	wide.Topic = "orders.>"
	err := b.Follow(t.Context(), wide, newDesk(always).handler())
	if err == nil || !strings.Contains(err.Error(), "shop (orders.*)") {
		t.Errorf("followed a part: %v", err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "more", Subjects: []string{"orders.a.b"}}); err != nil {
		t.Errorf("somebody else's stream was changed: %v", err)
	}
}

// A stream that was made here goes with the last who followed it; others stay.
func TestStreamGoesWithItsLast(t *testing.T) {
	s := startServer(t, t.TempDir(), server.RANDOM_PORT)
	b := New(s.ClientURL())
	defer b.Close()
	js := streamsOf(t, b)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "mine", Subjects: []string{"theirs"}}); err != nil {
		t.Fatal(err)
	}
	other, theirs := subscription, subscription
	other.Function, theirs.Topic = "audit", "theirs"
	for _, sub := range []Subscription{subscription, other, theirs} {
		follow(t, b, sub, newDesk(always))()
	}
	for _, step := range []struct {
		forget Subscription
		topic  string
		stays  bool
	}{{subscription, "orders.paid", true}, {other, "orders.paid", false}, {theirs, "theirs", true}} {
		if err := b.Forget(t.Context(), step.forget); err != nil {
			t.Fatal(err)
		}
		if name, err := js.StreamNameBySubject(t.Context(), step.topic); (err == nil) != step.stays {
			t.Errorf("after %s is forgotten by %s: stream %q, %v", step.forget.Topic, step.forget.Function, name, err)
		}
	}
	if _, err := js.Stream(t.Context(), deadStream(subscription.Namespace)); err != nil {
		t.Errorf("the stream of dead messages: %v", err)
	}
}

// Dead messages of one namespace never push out another's, and are bounded.
func TestDeadLettersOfNamespacesAreApart(t *testing.T) {
	s := startServer(t, t.TempDir(), server.RANDOM_PORT)
	b := New(s.ClientURL())
	defer b.Close()
	js := streamsOf(t, b)
	other := subscription
	other.Namespace, other.UID = "other", "2"
	for _, sub := range []Subscription{subscription, other} {
		follow(t, b, sub, newDesk(always))()
	}
	if _, err := js.Publish(t.Context(), other.Dead(), []byte("kept")); err != nil {
		t.Fatal(err)
	}
	for chunk, n := make([]byte, 512<<10), 0; n < 2*maxDeadBytes; n += len(chunk) {
		if _, err := js.Publish(t.Context(), subscription.Dead(), chunk); err != nil {
			t.Fatal(err)
		}
	}
	for namespace, few := range map[string]bool{other.Namespace: true, subscription.Namespace: false} {
		in, err := js.Stream(t.Context(), deadStream(namespace))
		if err != nil {
			t.Fatal(err)
		}
		if state := in.CachedInfo().State; few && state.Msgs != 1 || state.Msgs == 0 || state.Bytes > maxDeadBytes {
			t.Errorf("of %s there are %d dead messages of %d bytes", namespace, state.Msgs, state.Bytes)
		}
	}
}

// streamsOf is a broker's JetStream, once it is connected.
func streamsOf(t *testing.T, b *Broker) jetstream.JetStream {
	t.Helper()
	var js jetstream.JetStream
	await(t, "the broker connects", func() bool {
		var err error
		js, err = b.connect()
		return err == nil
	})
	return js
}

func TestTopicsThatCover(t *testing.T) {
	for topic, subjects := range map[string]map[string]bool{
		"orders":     {"orders": true, "orders.paid": false, "": false, "*": false, ">": false},
		"orders.*":   {"orders.paid": true, "orders": false, "orders.paid.now": false, "other.paid": false, "orders.*": true, "orders.>": false},
		"orders.>":   {"orders.paid": true, "orders.paid.now": true, "orders": false, "orders.*": true, "orders.>": true, "*.paid": false},
		"orders.*.x": {"orders.paid.x": true, "orders.paid.y": false, "orders.*.x": true, "orders.*.*": false},
	} {
		for subject, want := range subjects {
			if got := Covers(topic, subject); got != want {
				t.Errorf("%s has %q: %v, want %v", topic, subject, got, want)
			}
		}
	}
}
