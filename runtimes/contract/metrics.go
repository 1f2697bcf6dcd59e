package contract

import (
	"fmt"
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

// methods are those that are counted by their names. Callers may invent others.
var methods = [...]string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "OTHER"}

// Methods are how many there are to count.
const Methods = len(methods)

// MethodAt is the number of a method, below Methods; all that have no name of
// their own share the last.
func MethodAt(method string) int {
	if at := slices.Index(methods[:], method); at >= 0 {
		return at
	}
	return Methods - 1
}

// Count is what is counted of one method.
type Count struct {
	Calls, Failures int64
	Seconds         float64
}

// Metrics are counts, by MethodAt, in Kubeless's names.
func Metrics(counts [Methods]Count) string {
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
		for at, method := range methods {
			if c := counts[at]; c.Calls > 0 {
				fmt.Fprintf(&out, "%s{method=%q} %v\n", m.name, method, m.of(c))
			}
		}
	}
	return out.String()
}

// counters are counts of this process alone.
type counters struct {
	mu    sync.Mutex
	calls [Methods]Count // guarded by mu; by MethodAt
}

func (c *counters) Record(method string, took time.Duration, failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := &c.calls[MethodAt(method)]
	of.Calls++
	of.Seconds += took.Seconds()
	if failed {
		of.Failures++
	}
}

func (c *counters) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Metrics(c.calls)
}
