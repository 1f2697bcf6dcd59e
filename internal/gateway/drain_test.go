package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestDrainFinishesOpenRequests(t *testing.T) {
	r := newRig(t)
	release := make(chan struct{})
	r.service("slow", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = io.WriteString(w, "done")
	}), nil)
	if code := r.readyz(); code != http.StatusServiceUnavailable {
		t.Errorf("ready before the cluster is known: %d", code)
	}
	close(r.gateway.known)
	if code := r.readyz(); code != http.StatusOK {
		t.Errorf("ready: %d", code)
	}
	answers := make(chan string, 2)
	for _, client := range []*http.Client{http.DefaultClient, http2()} {
		go func() {
			resp, err := client.Do(r.request(http.MethodGet, "slow.default", "/", nil))
			if err != nil {
				answers <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			answers <- string(body)
		}()
	}
	idle, _ := r.dial()
	r.until("both are with the instance", func() bool { return r.load("slow").Active == 2 })
	r.stop()
	r.until("it drains", func() bool { return r.readyz() == http.StatusServiceUnavailable })
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the idle connection: %v", err)
	}
	select {
	case err := <-r.ended:
		t.Fatalf("it ended before its requests: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	for range 2 {
		if got := <-answers; got != "done" {
			t.Errorf("an open request got %q", got)
		}
	}
	if err := <-r.ended; err != nil {
		t.Errorf("drain: %v", err)
	}
	r.ended <- nil
}

func (r *rig) readyz() int {
	w := httptest.NewRecorder()
	r.gateway.adminHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code
}

// Whoever uses another server's connections is told to go, too, while a request
// without TLS takes long.
func TestDrainTellsAllAtOnce(t *testing.T) {
	authority := issue(t, authorityOf("localhost"))
	r := newRigWith(t, Options{Authority: authority})
	release := map[string]chan struct{}{"plain": make(chan struct{}), "secured": make(chan struct{})}
	for name, released := range release {
		r.service(name, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			<-released
			_, _ = io.WriteString(w, "done")
		}), nil)
	}
	type answer struct {
		body string
		last bool // the connection serves no further request
	}
	ask := func(client *http.Client, req *http.Request) <-chan answer {
		answers := make(chan answer, 1)
		go func() {
			resp, err := client.Do(req)
			if err != nil {
				answers <- answer{body: err.Error()}
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			answers <- answer{string(body), resp.Close}
		}()
		return answers
	}
	plain := ask(http.DefaultClient, r.request(http.MethodGet, "plain.default", "/", nil))
	req := r.request(http.MethodGet, "", "/", nil)
	req.URL.Scheme, req.URL.Host = "https", "secured.default.localhost"
	secured := ask(r.trusting(authority), req)
	r.until("both are with their instances", func() bool { return r.load("plain").Active == 1 && r.load("secured").Active == 1 })
	idle, _ := r.dial()
	r.stop()
	_, _ = idle.Read(make([]byte, 1)) // until it drains
	close(release["secured"])
	if got := <-secured; got != (answer{"done", true}) {
		t.Errorf("over TLS: %+v", got)
	}
	close(release["plain"])
	if got := <-plain; got != (answer{"done", true}) {
		t.Errorf("without TLS: %+v", got)
	}
}
