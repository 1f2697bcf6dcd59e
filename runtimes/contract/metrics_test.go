package contract

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Whatever callers invent as a method is one line more, at most.
func TestInventedMethodsAreCountedAsOne(t *testing.T) {
	var c counters
	c.Record("POST", time.Second, false)
	for n := range 20 {
		c.Record(fmt.Sprint("MADE", n), time.Second, true)
	}
	text := c.Text()
	for _, want := range []string{`function_calls_total{method="POST"} 1`, `function_calls_total{method="OTHER"} 20`, `function_failures_total{method="OTHER"} 20`, `function_duration_seconds_sum{method="OTHER"} 20`} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if lines := strings.Count(text, "method="); lines != 8 {
		t.Errorf("%d lines, want 8:\n%s", lines, text)
	}
}
