package jetstream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// own are the names of the streams that are made here for a topic.
var own = regexp.MustCompile(`^redoubt-[0-9a-f]{24}$`)

// stream finds the stream that keeps a topic's messages, or makes one. In one
// that is made, a message stays until everybody has worked on it.
func stream(ctx context.Context, js jetstream.JetStream, topic string) (string, error) {
	parts, err := streams(ctx, js, topic)
	if err != nil {
		return "", err
	}
	for _, config := range parts {
		if slices.ContainsFunc(config.Subjects, func(subject string) bool { return Covers(subject, topic) }) {
			return config.Name, nil
		}
	}
	switch {
	case len(parts) == 0:
		sum := sha256.Sum256([]byte(topic))
		name := "redoubt-" + hex.EncodeToString(sum[:12])
		_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: name, Description: "Messages of " + topic + " for functions", Subjects: []string{topic},
			Retention: jetstream.InterestPolicy, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage, MaxBytes: maxBytes, MaxAge: maxAge,
		})
		return name, err
	case len(parts) == 1 && own.MatchString(parts[0].Name):
		return parts[0].Name, widen(ctx, js, parts[0], topic)
	}
	return "", onlyParts(parts)
}

// streams are those that have any of a topic's messages.
func streams(ctx context.Context, js jetstream.JetStream, topic string) ([]jetstream.StreamConfig, error) {
	var all []jetstream.StreamConfig
	names := js.StreamNames(ctx, jetstream.WithStreamListSubject(topic))
	for name := range names.Name() {
		s, err := js.Stream(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
		case err != nil:
			return nil, err
		case len(s.CachedInfo().Config.Subjects) > 0: // others copy from streams
			all = append(all, s.CachedInfo().Config)
		}
	}
	return all, names.Err()
}

// widen makes a stream keep all of a topic, of which it has a part.
func widen(ctx context.Context, js jetstream.JetStream, config jetstream.StreamConfig, topic string) error {
	narrower := func(subject string) bool { return Covers(topic, subject) }
	config.Subjects = append(slices.DeleteFunc(slices.Clone(config.Subjects), narrower), topic)
	if _, err := js.UpdateStream(ctx, config); err != nil {
		return fmt.Errorf("the stream %s has a part of it, and cannot be made to keep all: %w", config.Name, err)
	}
	return nil
}

// onlyParts says that no stream has all of a topic, and none can be made: two
// streams never have the same message.
func onlyParts(parts []jetstream.StreamConfig) error {
	var have []string
	for _, config := range parts {
		have = append(have, config.Name+" ("+strings.Join(config.Subjects, ", ")+")")
	}
	return fmt.Errorf("streams have parts of it, and none has all: %s; make one that has, or choose another topic", strings.Join(have, "; "))
}

// Covers says whether a topic has all messages of a subject, which may be a topic
// itself.
func Covers(topic, subject string) bool {
	parts := strings.Split(subject, ".")
	for n, part := range strings.Split(topic, ".") {
		switch {
		case part == ">":
			return len(parts) > n
		case n >= len(parts) || parts[n] == ">" || part != "*" && part != parts[n]:
			return false
		}
	}
	return len(parts) == strings.Count(topic, ".")+1
}

// drop removes a stream that was made here, when nobody follows it any more: it
// holds its room in the server's store, full or not.
func drop(ctx context.Context, js jetstream.JetStream, name string) error {
	if !own.MatchString(name) {
		return nil
	}
	s, err := js.Stream(ctx, name)
	if err == nil && s.CachedInfo().State.Consumers == 0 {
		err = js.DeleteStream(ctx, name)
	}
	return unlessGone(err)
}

// unlessGone is an error, unless it is that something is not there.
func unlessGone(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	return err
}
