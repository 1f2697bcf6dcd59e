package contract

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Counts are of calls, by method.
type Counts interface {
	// Record counts a call that is over.
	Record(method string, took time.Duration, failed bool)
	// Text has the counts in Kubeless's names.
	Text() string
}

// Count is what is counted of one method.
type Count struct {
	Calls, Failures int64
	Seconds         float64
}

// Metrics are counts by method in Kubeless's names.
func Metrics(counts map[string]Count) string {
	var out strings.Builder
	for _, m := range []struct {
		name string
		of   func(Count) any
	}{
		{"function_calls_total", func(c Count) any { return c.Calls }},
		{"function_failures_total", func(c Count) any { return c.Failures }},
		{"function_duration_seconds_sum", func(c Count) any { return c.Seconds }},
		{"function_duration_seconds_count", func(c Count) any { return c.Calls }},
	} {
		fmt.Fprintf(&out, "# TYPE %s counter\n", m.name)
		for _, method := range slices.Sorted(maps.Keys(counts)) {
			fmt.Fprintf(&out, "%s{method=%q} %v\n", m.name, method, m.of(counts[method]))
		}
	}
	return out.String()
}

// counters are counts of this process alone.
type counters struct {
	mu    sync.Mutex
	calls map[string]Count
}

func (c *counters) Record(method string, took time.Duration, failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		c.calls = map[string]Count{}
	}
	of := c.calls[method]
	of.Calls++
	of.Seconds += took.Seconds()
	if failed {
		of.Failures++
	}
	c.calls[method] = of
}

func (c *counters) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Metrics(c.calls)
}
