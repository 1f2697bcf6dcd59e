package runtimes

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// A call that waits for a program, which no force on its thread ends, is answered
// when its time is over; then the server ends, for the node to start it anew.
func TestThreadThatForceDoesNotEnd(t *testing.T) {
	r, err := Get("nodejs")
	if err != nil {
		t.Fatal(err)
	}
	lasts := t.TempDir() + "/lasts"
	if err := os.WriteFile(lasts, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	source := fmt.Sprintf("module.exports = { run: () => require('child_process').execSync('while [ -e %s ]; do sleep 0.1; done') };\n", lasts)
	s := start(t, r, source, "run", "1")
	if status, got := s.call(t, "wait", "text/plain", ""); status != http.StatusRequestTimeout || !strings.Contains(got, "within 1 seconds") {
		t.Errorf("got %d %q", status, got)
	}
	s.checkLog(t, map[string]float64{"request-wait": http.StatusRequestTimeout})
	for range 1500 {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			return
		}
		c.Close()
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the server goes on with a thread that has not ended")
}

// Callers whose connections a thread was too busy to take lose nothing when it is
// stopped: the next thread answers them.
func TestThreadLeavesConnectionsToTheNext(t *testing.T) {
	r, err := Get("nodejs")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, r, `
const all = {
  run: (event) => all[event['event-type']](event),
  echo: (event) => event.data,
  loop: () => { require('fs').writeSync(1, 'it loops\n'); for (;;); },
};
module.exports = all;
`, "run", hasty)
	var all sync.WaitGroup
	call := func(function string, want int) {
		if status, got, err := s.tryAs("id-1", function, "text/plain", "x"); err != nil || status != want {
			t.Errorf("%s: %d %q, %v; want %d", function, status, got, err, want)
		}
	}
	all.Go(func() { call("loop", http.StatusRequestTimeout) })
	for range 1500 {
		if strings.Contains(s.log.String(), "it loops") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for range 5 {
		all.Go(func() { call("echo", http.StatusOK) })
	}
	all.Wait()
}

// A function may throw anything, and its thread goes on.
func TestThreadGoesOnWhateverIsThrown(t *testing.T) {
	r, err := Get("nodejs")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, r, `
let calls = 0;
const all = {
  run: (event) => { calls++; return all[event['event-type']](); },
  object: () => { throw Object.create(null); },
  symbol: () => { throw Symbol('odd'); },
  nothing: () => { throw undefined; },
  secret: () => { throw { [require('util').inspect.custom]() { throw new Error('no'); } }; },
  count: () => String(calls),
};
module.exports = all;
`, "run", patient)
	for _, tc := range []struct {
		function, want string
		status         int
	}{
		{"object", "the function failed: it threw something that has no text", 500},
		{"symbol", "the function failed: Symbol(odd)", 500},
		{"nothing", "the function failed: undefined", 500},
		{"secret", "the function failed: it threw something that has no text", 500},
		{"count", "5", 200},
	} {
		if status, got := s.call(t, tc.function, "text/plain", ""); status != tc.status || strings.TrimSpace(got) != tc.want {
			t.Errorf("%s: got %d %q, want %d %q", tc.function, status, got, tc.status, tc.want)
		}
	}
}
