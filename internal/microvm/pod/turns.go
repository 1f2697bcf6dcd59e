package pod

import (
	"context"
	"sync"
)

// turns let what is done to one of several things be done one after another.
type turns struct {
	mu   sync.Mutex // guards busy
	busy map[string]chan struct{}
}

// begin waits for the turn of whoever asks for id, who calls end when it is over.
func (t *turns) begin(ctx context.Context, id string) (end func(), err error) {
	t.mu.Lock()
	if t.busy == nil {
		t.busy = map[string]chan struct{}{}
	}
	turn := t.busy[id]
	if turn == nil {
		turn = make(chan struct{}, 1)
		t.busy[id] = turn
	}
	t.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
