package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/instance"
)

// obliging is a keeper whose nodes do at once what they are asked for.
type obliging struct{}

func (obliging) Connected(*balance.Instance) bool { return true }
func (obliging) Release(*balance.Instance)        {}
func (obliging) Hold(*balance.Instance) <-chan struct{} {
	running := make(chan struct{})
	close(running)
	return running
}

// The request that wakes an instance goes over a connection from before, if it
// does no harm twice: the instance may close that one at the same moment.
func TestConnectionIsKeptForTheThaw(t *testing.T) {
	r := newRig(t)
	tracker := instance.NewTracker(r.gateway.table.SetRevision, obliging{})
	t.Cleanup(tracker.Close)
	r.sink.tracker = tracker
	closes := false
	r.service("sleeps", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if closes {
			w.Header().Set("Connection", "close")
		}
		_, _ = io.WriteString(w, req.RemoteAddr)
	}), nil)
	var before string
	for _, test := range []struct {
		name, method string
		closes       bool // the instance closes the connection after this request
		same         bool // the connection is the one of the request before
	}{
		{"first", http.MethodGet, false, false},
		{"that can be repeated", http.MethodGet, false, true},
		{"that may not be repeated", http.MethodPost, false, false},
		{"again", http.MethodPut, true, true},
		{"after the connection was closed", http.MethodGet, false, false},
	} {
		r.until("the instance was released", func() bool { return r.load("sleeps").Active == 0 })
		r.gateway.table.Revisions(func(rev *balance.Revision) { rev.Rest(time.Now().Add(time.Hour)) })
		closes = test.closes
		status, from := r.do(r.request(test.method, "sleeps.default", "/", nil))
		if status != http.StatusOK || (from == before) != test.same {
			t.Errorf("request %s: %d from %s, before %s", test.name, status, from, before)
		}
		before = from
	}
}

// counting is obliging, and counts what it is asked for.
type counting struct {
	obliging
	released, held *int
}

func (c counting) Release(*balance.Instance) { *c.released++ }
func (c counting) Hold(i *balance.Instance) <-chan struct{} {
	*c.held++
	return c.obliging.Hold(i)
}

// A revision may be gone before its pods are: what was released is taken back
// all the same, or it would be frozen until its end and its node would remember
// it for ever.
func TestReleasedInstanceIsTakenBackAfterItsRevision(t *testing.T) {
	r := newRig(t)
	keeper := counting{released: new(int), held: new(int)}
	tracker := instance.NewTracker(r.gateway.table.SetRevision, keeper)
	t.Cleanup(tracker.Close)
	r.sink.tracker = tracker
	r.revision("sleeps", backend(t, "127.0.0.1", 0, says("here")), nil)
	pod := r.pod("sleeps", "127.0.0.1")
	r.expect("sleeps.default", http.StatusOK, "here")
	r.until("it is idle", func() bool { return r.load("sleeps").Active == 0 })
	r.gateway.table.Revisions(func(rev *balance.Revision) { rev.Rest(time.Now().Add(time.Hour)) })
	r.sink.DeleteRevision(types.NamespacedName{Namespace: "default", Name: "sleeps"})
	r.sink.DeletePod(pod.UID)
	if *keeper.released != 1 || *keeper.held != 1 {
		t.Errorf("%d released and %d taken back, want 1 each", *keeper.released, *keeper.held)
	}
}

// A connection of the server for HTTP/2 is used again, and is closed before its
// instance may be frozen.
func TestConnectionForHTTP2IsNotKeptForTheThaw(t *testing.T) {
	r := newRig(t)
	tracker := instance.NewTracker(r.gateway.table.SetRevision, obliging{})
	t.Cleanup(tracker.Close)
	r.sink.tracker = tracker
	r.service("sleeps", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { _, _ = io.WriteString(w, req.RemoteAddr) }), nil)
	client := http2()
	var before string
	for _, test := range []struct{ rests, same bool }{{false, false}, {false, true}, {true, false}, {false, true}} {
		r.until("it is idle", func() bool { return r.load("sleeps").Active == 0 })
		if test.rests {
			r.gateway.table.Revisions(func(rev *balance.Revision) { rev.Rest(time.Now().Add(time.Hour)) })
		}
		resp, err := client.Do(r.request(http.MethodPost, "sleeps.default", "/", strings.NewReader("x")))
		if err != nil {
			t.Fatal(err)
		}
		from, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || (string(from) == before) != test.same {
			t.Errorf("%s from %s, before %s, %v; want the same: %v", resp.Status, from, before, err, test.same)
		}
		before = string(from)
	}
}
