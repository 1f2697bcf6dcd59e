package pod

import (
	"context"
	"errors"
	"testing"
)

func TestTurns(t *testing.T) {
	var all turns
	end, err := all.begin(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if other, err := all.begin(t.Context(), "b"); err != nil {
		t.Errorf("another thing waits: %v", err)
	} else {
		other()
	}
	waited, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := all.begin(waited, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a second turn begins within the first: %v", err)
	}
	next := make(chan error)
	go func() {
		end, err := all.begin(t.Context(), "a")
		if err == nil {
			end()
		}
		next <- err
	}()
	end()
	if err := <-next; err != nil {
		t.Errorf("the next turn does not come: %v", err)
	}
}
