package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/load"
)

// reports follows the gateway's reports of load.
func (r *rig) reports() <-chan load.Report {
	admin := httptest.NewServer(r.gateway.adminHandler())
	ctx, cancel := context.WithCancel(r.Context())
	r.Cleanup(func() { cancel(); admin.Close() })
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, admin.URL+load.Path, nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	out := make(chan load.Report, 100)
	go func() {
		defer resp.Body.Close()
		defer close(out)
		for lines := json.NewDecoder(resp.Body); ; {
			var report load.Report
			if lines.Decode(&report) != nil {
				return
			}
			out <- report
		}
	}()
	<-out // what waits at the start: nothing
	return out
}

func TestHoldsUntilAnInstanceIsReady(t *testing.T) {
	r := newRig(t)
	reports := r.reports()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that nobody else takes
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	r.revision("sleepy", port, nil)

	var held sync.WaitGroup
	for range 20 {
		held.Go(func() { r.expect("sleepy.default", http.StatusOK, "awake") })
	}
	for report := range reports {
		if len(report.Revisions) == 1 && report.Revisions[0].Name == "sleepy" && report.Revisions[0].Waiting > 0 {
			break
		}
	}
	r.pod("sleepy", "127.0.0.1") // it has an address, but does not listen
	time.Sleep(50 * time.Millisecond)
	backend(t, "127.0.0.1", port, says("awake"))
	held.Wait()
}

func TestProbesAsTheRevisionSays(t *testing.T) {
	r := newRig(t)
	var warm atomic.Bool
	var early atomic.Int64
	port := backend(t, "127.0.0.1", 0, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/ready" && !warm.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case req.URL.Path != "/ready" && !warm.Load():
			early.Add(1)
		}
	}))
	r.revision("warming", port, func(rev *serving.Revision) {
		rev.Spec.Containers[0].ReadinessProbe = &serving.Probe{HTTPGet: &serving.HTTPGetAction{Path: "/ready"}}
	})
	r.pod("warming", "127.0.0.1")
	time.AfterFunc(100*time.Millisecond, func() { warm.Store(true) })
	if status, _ := r.get("warming.default"); status != http.StatusOK || early.Load() > 0 {
		t.Errorf("status %d, %d requests before it was ready", status, early.Load())
	}
}

func TestFailedRevisionAnswersAtOnce(t *testing.T) {
	r := newRig(t)
	r.revision("broken", 1, nil)
	answered := make(chan string, 1)
	go func() {
		status, body := r.get("broken.default")
		if status != http.StatusServiceUnavailable {
			t.Errorf("status %d", status)
		}
		answered <- body
	}()
	r.until("the request waits", func() bool { return r.load("broken").Waiting == 1 })
	r.revision("broken", 1, func(rev *serving.Revision) {
		rev.Status.Conditions = serving.Conditions{{Type: serving.Ready, Status: corev1.ConditionFalse, Reason: "ExitCode1", Message: "Container failed with: Error"}}
	})
	if body := <-answered; !strings.Contains(body, "Container failed with") {
		t.Errorf("who waited got %q", body)
	}
	if _, body := r.get("broken.default"); !strings.Contains(body, "Container failed with") {
		t.Errorf("who came later got %q", body)
	}
}

func TestClientThatLeavesFreesItsPlace(t *testing.T) {
	r := newRig(t)
	r.revision("absent", 1, nil)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := http.DefaultClient.Do(r.request(http.MethodGet, "absent.default", "/", nil).WithContext(ctx))
		done <- err
	}()
	r.until("the request waits", func() bool { return r.load("absent").Waiting == 1 })
	leave()
	<-done
	r.until("nobody waits", func() bool { l := r.load("absent"); return l.Waiting == 0 && l.Active == 0 })
}

func TestConcurrencyLimit(t *testing.T) {
	r := newRig(t)
	var active, most atomic.Int64
	slow := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		now := active.Add(1)
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
		_, _ = io.Copy(io.Discard, req.Body)
		time.Sleep(5 * time.Millisecond)
		active.Add(-1)
	})
	r.service("narrow", slow, func(rev *serving.Revision) { rev.Spec.ContainerConcurrency = 2 })
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() { r.expect("narrow.default", http.StatusOK, "") })
	}
	clients.Wait()
	if most.Load() != 2 {
		t.Errorf("%d requests at a time in one instance", most.Load())
	}
}

func TestInstanceThatIsGone(t *testing.T) {
	r := newRig(t)
	port := backend(t, "127.0.0.1", 0, says("here"))
	r.revision("twins", port, nil)
	r.pod("twins", "127.0.0.1")
	gone, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", portText(port)))
	if err != nil {
		t.Fatal(err)
	}
	r.pod("twins", "127.0.0.2")
	r.until("both are ready", func() bool { return r.load("twins").Ready == 2 })
	_ = gone.Close()
	for range 6 {
		r.expect("twins.default", http.StatusOK, "here")
	}
	if ready := r.load("twins").Ready; ready != 1 {
		t.Errorf("%d instances are ready", ready)
	}
	backend(t, "127.0.0.2", port, says("back"))
	r.until("it is found again", func() bool { return r.load("twins").Ready == 2 })
}

func TestPodThatLeavesGetsNothing(t *testing.T) {
	r := newRig(t)
	port := backend(t, "127.0.0.1", 0, says("stays"))
	backend(t, "127.0.0.2", port, says("leaves"))
	r.revision("pair", port, nil)
	r.pod("pair", "127.0.0.1")
	leaving := r.pod("pair", "127.0.0.2")
	r.until("both are ready", func() bool { return r.load("pair").Ready == 2 })
	now := leaving.CreationTimestamp
	leaving.DeletionTimestamp = &now
	r.sink.SetPod(leaving)
	for range 10 {
		r.expect("pair.default", http.StatusOK, "stays")
	}
}
