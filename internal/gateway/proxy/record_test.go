package proxy

import (
	"context"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// taker is a client that takes a while for what it is sent; longer than it has
// time for where that is none.
type taker struct {
	http.ResponseWriter
	takes time.Duration
	late  chan struct{}
}

func (t *taker) Write(b []byte) (int, error) {
	if t.takes > 0 {
		time.Sleep(t.takes)
		return len(b), nil
	}
	<-t.late
	return 0, os.ErrDeadlineExceeded
}

func (t *taker) SetWriteDeadline(time.Time) error {
	close(t.late)
	return nil
}

// A client that takes nothing of its answer does not keep its place in the
// instance; one that is slow does, however long that takes.
func TestClientThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		to := &taker{takes: takeTimeout * 2 / 3, late: make(chan struct{})}
		r := &recorder{ResponseWriter: to, watch: newWatchdog(cancel)}
		for range 3 {
			if _, err := r.Write([]byte("x")); err != nil || ctx.Err() != nil {
				t.Fatalf("a slow client: %v, %v", err, context.Cause(ctx))
			}
		}
		time.Sleep(takeTimeout * 2)
		if ctx.Err() != nil {
			t.Fatalf("while nothing is sent: %v", context.Cause(ctx))
		}
		to.takes = 0
		begin := time.Now()
		if _, err := r.Write([]byte("x")); err == nil || time.Since(begin) != takeTimeout || context.Cause(ctx) != error(slowClient) {
			t.Errorf("one that takes nothing: %v after %v, %v", err, time.Since(begin), context.Cause(ctx))
		}
	})
}
