package proxy

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"redoubt.dev/redoubt/internal/gateway/balance"
)

// watchdog ends an exchange that takes too long: first until the answer
// begins, then between two bytes of either body.
type watchdog struct {
	cancel context.CancelCauseFunc
	active atomic.Int64 // when a byte passed last, in nanoseconds since the epoch

	mu    sync.Mutex
	timer *time.Timer // guarded by mu; nil while nothing is timed
}

func newWatchdog(cancel context.CancelCauseFunc) *watchdog { return &watchdog{cancel: cancel} }

// passed notes that bytes went through.
func (w *watchdog) passed() {
	if w != nil {
		w.active.Store(time.Now().UnixNano())
	}
}

// end ends the exchange for a reason.
func (w *watchdog) end(why *balance.Refusal) {
	if w != nil {
		w.cancel(why)
	}
}

// answerWithin starts the time for the beginning of the answer.
func (w *watchdog) answerWithin(d time.Duration, name types.NamespacedName) {
	w.set(d, func() {
		w.cancel(&balance.Refusal{Status: http.StatusGatewayTimeout, Message: fmt.Sprintf(
			"revision %s did not begin to answer within %v", name, d)})
	})
}

// answered starts the time between bytes, for ever if idle is 0.
func (w *watchdog) answered(idle time.Duration, name types.NamespacedName) {
	w.stop()
	if idle == 0 {
		return
	}
	w.passed()
	var check func()
	check = func() {
		quiet := time.Since(time.Unix(0, w.active.Load()))
		if quiet < idle {
			w.set(idle-quiet, check)
			return
		}
		w.cancel(&balance.Refusal{Status: http.StatusGatewayTimeout, Message: fmt.Sprintf(
			"revision %s passed no byte for %v", name, idle)})
	}
	w.set(idle, check)
}

func (w *watchdog) set(d time.Duration, do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.timer = time.AfterFunc(d, do)
}

func (w *watchdog) stop() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}
