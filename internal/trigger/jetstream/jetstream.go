// Package jetstream hands the messages of NATS subjects to whoever works on
// them, each at least once: it is acknowledged when the work has succeeded,
// comes again after a growing pause when it has not, and goes to a dead-letter
// subject in the end. What has been worked on is JetStream's to remember, so
// that nothing is lost with this process, with the connection or the server.
package jetstream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// patience bounds a question to the server.
	patience = 5 * time.Second
	// maxBytes bounds a stream, in bytes: those who publish are refused when
	// so much has not been worked on.
	maxBytes = 64 << 20
	// maxAge is how long a message waits for its work, and deadAge how long a
	// dead one is kept.
	maxAge  = 7 * 24 * time.Hour
	deadAge = 30 * 24 * time.Hour
	// maxDead is how many dead messages of one trigger are kept: the latest.
	maxDead = 1000
	// deadPrefix begins the dead-letter subjects: NAMESPACE.TRIGGER follows.
	deadPrefix = "redoubt.dead."
	// maxDeadBytes bounds the dead messages of a namespace, in bytes: the oldest go
	// first. The server sets as much of its store aside.
	maxDeadBytes = 16 << 20
)

// Broker is a connection to NATS, made when it is first needed and again
// whenever it is lost.
type Broker struct {
	url   string
	opts  []nats.Option
	pause time.Duration // after the first try

	mu   sync.Mutex
	conn *nats.Conn // guarded by mu; nil until it is needed

	// streams is held by who looks for a stream until it is followed, and by who
	// removes one: it would go in between, or be widened by two at once.
	streams sync.Mutex
}

// New returns a broker of the servers at url, nats://HOST:PORT,...
func New(url string, opts ...nats.Option) *Broker {
	return &Broker{url: url, opts: opts, pause: firstPause}
}

// Close ends the connection.
func (b *Broker) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		b.conn.Close()
	}
}

func (b *Broker) connect() (jetstream.JetStream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		opts := append([]nats.Option{
			nats.Name("redoubt"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second),
		}, b.opts...)
		conn, err := nats.Connect(b.url, opts...)
		if err != nil {
			return nil, fmt.Errorf("connect to NATS at %s: %w", b.hosts(), err)
		}
		b.conn = conn
	}
	if !b.conn.IsConnected() {
		return nil, fmt.Errorf("NATS at %s cannot be reached: %w", b.hosts(), orElse(b.conn.LastError(), errors.New("not connected yet")))
	}
	return jetstream.New(b.conn)
}

// hosts are the servers without what to say to them: errors are shown to
// owners of triggers.
func (b *Broker) hosts() string {
	var all []string
	for _, server := range strings.Split(b.url, ",") {
		host := "?"
		if u, err := url.Parse(server); err == nil && u.Host != "" {
			host = u.Host
		}
		all = append(all, host)
	}
	return strings.Join(all, ", ")
}

func orElse(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// Subscription is what a function gets of a trigger.
type Subscription struct {
	Namespace, Trigger string
	// UID is the trigger's: one of the same name that comes later begins anew.
	UID, Function, Topic string
}

// durable names the subscription's consumer.
func (s Subscription) durable() string {
	sum := sha256.Sum256([]byte(s.UID + "/" + s.Function + "/" + s.Topic))
	return "redoubt-" + hex.EncodeToString(sum[:12])
}

// Dead is the subject that messages go to on which the work never succeeds.
func (s Subscription) Dead() string { return deadPrefix + s.Namespace + "." + s.Trigger }

// deadStream keeps the dead messages of a namespace: in one stream for all, those
// of one would push out another's.
func deadStream(namespace string) string { return "redoubt-dead-" + namespace }

func ensureDead(ctx context.Context, js jetstream.JetStream, namespace string) error {
	_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: deadStream(namespace), Description: "Messages that functions of " + namespace + " never took",
		Subjects:  []string{deadPrefix + namespace + ".>"},
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, Storage: jetstream.FileStorage,
		MaxBytes: maxDeadBytes, MaxAge: deadAge, MaxMsgsPerSubject: maxDead,
	})
	return err
}

// consumer makes the subscription's, or finds it as it was left. A new one
// begins with the messages that come from now on.
func (b *Broker) consumer(ctx context.Context, js jetstream.JetStream, s Subscription) (jetstream.Consumer, error) {
	b.streams.Lock()
	defer b.streams.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := ensureDead(ctx, js, s.Namespace); err != nil {
		return nil, fmt.Errorf("make the stream of dead messages: %w", err)
	}
	in, err := stream(ctx, js, s.Topic)
	if err != nil {
		return nil, fmt.Errorf("find a stream of %s: %w", s.Topic, err)
	}
	consumer, err := js.CreateOrUpdateConsumer(ctx, in, jetstream.ConsumerConfig{
		Durable: s.durable(), Description: "Function " + s.Namespace + "/" + s.Function + " by trigger " + s.Trigger,
		FilterSubject: s.Topic, DeliverPolicy: jetstream.DeliverNewPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: maxPending, MaxDeliver: -1,
		InactiveThreshold: maxAge,
	})
	if err != nil {
		return nil, fmt.Errorf("follow %s: %w", s.Topic, err)
	}
	return consumer, nil
}

// Publish hands on what came of a subscription's message, whose id is given: kept
// by JetStream, once however often it is tried, where a stream has the topic, and
// otherwise for whoever listens.
func (b *Broker) Publish(ctx context.Context, s Subscription, topic, id string, m Message) error {
	js, err := b.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	msg := &nats.Msg{Subject: topic, Header: m.Header, Data: m.Data}
	_, err = js.StreamNameBySubject(ctx, topic)
	switch {
	case err == nil:
		_, err = js.PublishMsg(ctx, msg, jetstream.WithMsgID(s.durable()+"-"+id))
	case errors.Is(err, jetstream.ErrStreamNotFound):
		err = errors.Join(js.Conn().PublishMsg(msg), js.Conn().FlushWithContext(ctx))
	}
	if err != nil {
		return fmt.Errorf("publish the answer to %s: %w", topic, err)
	}
	return nil
}

// Forget removes what JetStream remembers of a subscription. Who cannot is
// helped by time: what nobody asks for is removed after a week.
func (b *Broker) Forget(ctx context.Context, s Subscription) error {
	js, err := b.connect()
	if err != nil {
		return err
	}
	b.streams.Lock()
	defer b.streams.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	parts, err := streams(ctx, js, s.Topic)
	if err != nil {
		return err
	}
	for _, config := range parts {
		err = errors.Join(err, unlessGone(js.DeleteConsumer(ctx, config.Name, s.durable())), drop(ctx, js, config.Name))
	}
	return err
}
