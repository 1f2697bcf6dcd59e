package quota

import (
	"net/http"
	"testing"
	"time"
)

// TestRequests lets a second's requests through at once, refuses the next, and
// makes room as time passes; namespaces of one tenant share, others do not.
func TestRequests(t *testing.T) {
	b := New()
	for namespace, tenant := range map[string]string{"a1": "a", "a2": "a", "b": "b"} {
		b.SetNamespace(namespace, tenant, Limits{RequestsPerSecond: 10})
	}
	now := time.Unix(1000, 0)
	count := func(namespace string, tries int) (through int) {
		for range tries {
			if refusal := b.Of(namespace).Request(now); refusal == nil {
				through++
			} else if refusal.Status != http.StatusTooManyRequests || !refusal.RetryAfter() {
				t.Fatalf("refused with %+v", refusal)
			}
		}
		return through
	}
	for _, step := range []struct {
		namespace string
		want      int
	}{{"a1", 10}, {"a2", 0}, {"b", 10}} {
		if got := count(step.namespace, 15); got != step.want {
			t.Errorf("%s: %d of 15 came through, want %d", step.namespace, got, step.want)
		}
	}
	// A namespace that changes, here the only one of its tenant, begins nothing anew.
	b.SetNamespace("b", "b", Limits{RequestsPerSecond: 10})
	if got := count("b", 15); got != 0 {
		t.Errorf("after a change: %d came through, want none", got)
	}
	now = now.Add(300 * time.Millisecond)
	if got := count("a2", 15); got != 3 {
		t.Errorf("after 0.3 s: %d came through, want 3", got)
	}
	now = now.Add(time.Hour)
	if got := count("a1", 15); got != 10 {
		t.Errorf("after an hour: %d came through, want 10", got)
	}
	b.SetNamespace("a1", "a", Limits{})
	b.DeleteNamespace("b")
	if b.Of("a1") != nil || b.Of("b") != nil || b.Of("a2") == nil || b.Of("free") != nil {
		t.Error("a namespace without limits is bounded, or one with is not")
	}
}

func TestRead(t *testing.T) {
	for text, want := range map[string]int{"": 0, "7": 7, "-1": 0, "x": 0, "99999999999": 1<<31 - 1} {
		if got := Read(map[string]string{"tenant.redoubt.dev/requests-per-second": text}); got.RequestsPerSecond != want || got.ColdStarts != 0 {
			t.Errorf("%q is read as %+v, want %d", text, got, want)
		}
	}
}
