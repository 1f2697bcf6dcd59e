package runtimes

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// What ends the thread of functions in JavaScript, or the program of one in Go, ends
// all calls in it, each with an answer that says why; later ones have another.
func TestThreadsEndWithAnswers(t *testing.T) {
	for name, source := range map[string]string{
		"nodejs": `
const held = [];
const all = {
  run: (event) => all[event['event-type']](event),
  echo: (event) => event.data,
  wait: () => { console.log('it waits'); return new Promise(() => {}); },
  leave: () => process.exit(3),
  hoard: () => { for (;;) held.push(new Array(1000).fill(held.length)); },
};
module.exports = all;
`,
		"go": `
package kubeless

import (
	"fmt"
	"os"

	"github.com/kubeless/kubeless/pkg/functions"
)

func Run(event functions.Event, context functions.Context) (string, error) {
	switch event.EventType {
	case "wait":
		fmt.Println("it waits")
		select {}
	case "leave":
		os.Exit(3)
	case "hoard": // which nothing recovers from
		var deep func(int) int
		deep = func(n int) int { return deep(n+1) + n }
		return fmt.Sprint(deep(0)), nil
	}
	return event.Data, nil
}
`,
	} {
		r, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, function := range []string{"leave", "hoard"} {
			t.Run(name+"/"+function, func(t *testing.T) {
				t.Parallel()
				threadEndsWithAnswers(t, r, source, function)
			})
		}
	}
}

func threadEndsWithAnswers(t *testing.T, r Runtime, source, function string) {
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
}

// A thread that ends soon after it has loaded its function starts again no more
// than once a second: it would take a processor.
func TestThreadThatAlwaysEndsWaits(t *testing.T) {
	r, err := Get("nodejs")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, r, "require('fs').writeSync(1, `it loads at ${process.uptime()}\n`); setTimeout(() => process.exit(1), 100); module.exports = { run: () => '' };\n", "run", patient)
	const starts = 4
	var at []float64 // seconds after the server's start
	for len(at) < starts {
		time.Sleep(10 * time.Millisecond)
		at = nil
		for _, line := range strings.SplitAfter(s.log.String(), "\n") {
			var seconds float64
			if _, err := fmt.Sscanf(line, "it loads at %f\n", &seconds); err == nil {
				at = append(at, seconds)
			}
		}
	}
	if took := at[starts-1] - at[0]; took < starts-2 { // a load may take longer than another
		t.Errorf("%d starts took %v s", starts, took)
	}
}
