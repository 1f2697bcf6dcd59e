package runtimes

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// What ends the thread of functions in JavaScript ends all calls in it, each with
// an answer that says why; later ones have another.
func TestThreadsEndWithAnswers(t *testing.T) {
	const source = `
const held = [];
const all = {
  run: (event) => all[event['event-type']](event),
  echo: (event) => event.data,
  wait: () => { console.log('it waits'); return new Promise(() => {}); },
  leave: () => process.exit(3),
  hoard: () => { for (;;) held.push(new Array(1000).fill(held.length)); },
};
module.exports = all;
`
	r, err := Get("nodejs")
	if err != nil {
		t.Fatal(err)
	}
	for _, function := range []string{"leave", "hoard"} {
		t.Run(function, func(t *testing.T) {
			t.Parallel()
			s := startWith(t, r, source, "run", patient, "NODE_OPTIONS=--max-old-space-size=64")
			check := func(function string) {
				if status, got := s.call(t, function, "text/plain", ""); status != http.StatusInternalServerError || !strings.Contains(got, "ended without an answer") {
					t.Errorf("%s: %d %q", function, status, got)
				}
			}
			var beside sync.WaitGroup
			beside.Go(func() { check("wait") })
			for !strings.Contains(s.log.String(), "it waits") {
				time.Sleep(10 * time.Millisecond)
			}
			check(function)
			beside.Wait()
			if status, got := s.call(t, "echo", "text/plain", "x"); status != http.StatusOK || got != "x" {
				t.Errorf("the next call: %d %q", status, got)
			}
			s.checkMetrics(t, 3, 2)
			s.checkLog(t, map[string]float64{"request-wait": 500, "request-" + function: 500})
		})
	}
}
