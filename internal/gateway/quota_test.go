package gateway

import (
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// limited says what the tenant controller says of the rig's namespace.
func (r *rig) limited(annotations map[string]string) {
	n := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "default", Labels: map[string]string{redoubt.TenantLabel: "acme"}, Annotations: annotations}}
	r.sink.SetNamespace(n)
}

// TestRequestsOfATenantAreBounded sends more than a tenant may have, and as the
// control the same without a limit.
func TestRequestsOfATenantAreBounded(t *testing.T) {
	r := newRig(t)
	r.service("busy", says("hello"), nil)
	count := func() map[int]int {
		statuses := map[int]int{}
		for range 30 {
			status, _ := r.get("busy.default.localhost")
			statuses[status]++
		}
		return statuses
	}
	if got := count(); got[http.StatusOK] != 30 {
		t.Errorf("without a limit: %v", got)
	}
	r.limited(map[string]string{redoubt.RequestsAnnotation: "1"})
	if got := count(); got[http.StatusOK] == 0 || got[http.StatusTooManyRequests] == 0 || len(got) != 2 {
		t.Errorf("with a limit of 1: %v", got)
	}
	if _, body := r.get("busy.default.localhost"); !strings.Contains(body, "requests of this second") && body != "hello" {
		t.Errorf("answered %q", body)
	}
}

// TestColdStartsOfATenantAreBounded asks for more services without instances
// than a tenant may start at a time: the rest is refused until one has started.
func TestColdStartsOfATenantAreBounded(t *testing.T) {
	r := newRig(t)
	r.limited(map[string]string{redoubt.ColdStartsAnnotation: "1"})
	port := backend(t, "127.0.0.1", 0, says("hello"))
	r.revision("first", port, nil)
	r.revision("second", port, nil)
	waiting := func(revision string, n int) {
		t.Helper()
		r.until("requests wait for "+revision, func() bool { return r.load(revision).Waiting == n })
	}
	answered := make(chan int, 2)
	ask := func() {
		status, _ := r.get("first.default.localhost")
		answered <- status
	}
	go ask()
	waiting("first", 1)
	go ask() // the same start, which is counted once
	waiting("first", 2)
	if status, body := r.get("second.default.localhost"); status != http.StatusServiceUnavailable || !strings.Contains(body, "1 services of this tenant are starting already") {
		t.Errorf("a second cold start: %d, %s", status, body)
	}
	r.pod("first", "127.0.0.1")
	for range 2 {
		if status := <-answered; status != http.StatusOK {
			t.Errorf("the first cold start: %d", status)
		}
	}
	go func() {
		status, _ := r.get("second.default.localhost")
		answered <- status
	}()
	waiting("second", 1)
	r.pod("second", "127.0.0.1")
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the second cold start, after the first: %d", status)
	}
}
