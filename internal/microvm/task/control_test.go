package task

import (
	"testing"

	"redoubt.dev/redoubt/internal/microvm/stdio"
	"redoubt.dev/redoubt/internal/wire"
)

// TestOutOfMemoryIsToldOnce: a guest says it as often as it likes.
func TestOutOfMemoryIsToldOnce(t *testing.T) {
	s := &Service{events: &publisher{queue: make(chan any, 8)}, containers: map[string]*container{}}
	for _, id := range []string{"one", "two"} {
		s.containers[id] = &container{id: id, init: newProcess(wire.Ref{ID: id}, stdio.Paths{}, nil)}
	}
	for range 3 {
		for _, id := range []string{"one", "two", "none"} {
			s.onGuestEvent(wire.Event{ID: id, Kind: wire.OutOfMemory})
		}
	}
	if got := len(s.events.queue); got != 2 {
		t.Errorf("got %d events, want one of each container", got)
	}
}
