package contract

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// counters count calls by method, in Kubeless's names.
type counters struct {
	mu    sync.Mutex
	calls map[string]count
}

type count struct {
	calls, failures int
	seconds         float64
}

func (c *counters) record(method string, took time.Duration, failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		c.calls = map[string]count{}
	}
	of := c.calls[method]
	of.calls++
	of.seconds += took.Seconds()
	if failed {
		of.failures++
	}
	c.calls[method] = of
}

func (c *counters) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out strings.Builder
	for _, m := range []struct {
		name string
		of   func(count) any
	}{
		{"function_calls_total", func(c count) any { return c.calls }},
		{"function_failures_total", func(c count) any { return c.failures }},
		{"function_duration_seconds_sum", func(c count) any { return c.seconds }},
		{"function_duration_seconds_count", func(c count) any { return c.calls }},
	} {
		fmt.Fprintf(&out, "# TYPE %s counter\n", m.name)
		for _, method := range slices.Sorted(maps.Keys(c.calls)) {
			fmt.Fprintf(&out, "%s{method=%q} %v\n", m.name, method, m.of(c.calls[method]))
		}
	}
	return out.String()
}
