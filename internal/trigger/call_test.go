package trigger

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// called is a server in the gateway's place that answers with the statuses, one
// after the other; the last one stays.
func called(t *testing.T, statuses ...int) (*caller, *[]string) {
	t.Helper()
	var seen []string
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.Join([]string{r.Method, r.Host, r.Header.Get("Content-Type"), r.Header.Get("event-id"), r.Header.Get("event-time"), r.Header.Get("event-namespace"), string(body)}, " "))
		w.WriteHeader(statuses[min(len(seen), len(statuses))-1])
	}))
	t.Cleanup(site.Close)
	c := newCaller(netip.MustParseAddrPort(strings.TrimPrefix(site.URL, "http://")))
	c.pause = time.Millisecond
	return c, &seen
}

// calledWith is a server in the gateway's place that answers with a text.
func calledWith(t *testing.T, text string) (*caller, *httptest.Server) {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
	t.Cleanup(site.Close)
	return newCaller(netip.MustParseAddrPort(strings.TrimPrefix(site.URL, "http://"))), site
}

func TestACallIsAnEvent(t *testing.T) {
	c, seen := called(t, 200)
	e := event{namespace: "shop", function: "report", id: "1", source: "cronjobtrigger.kubeless.io", time: at(t, "2026-01-01T11:00:00+01:00"), data: []byte(`{"a":1}`), kind: "application/json"}
	if err := c.call(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	want := `POST report.shop.svc.cluster.local application/json 1 2026-01-01T10:00:00Z cronjobtrigger.kubeless.io {"a":1}`
	if len(*seen) != 1 || (*seen)[0] != want {
		t.Errorf("the function got %q, want %q", *seen, want)
	}
}

// Who could not be reached is called again; who answered is not.
func TestCallsAreRepeatedUntilTheyArrive(t *testing.T) {
	for title, tc := range map[string]struct {
		statuses []int
		calls    int
		fails    bool
	}{
		"at once":       {[]int{200}, 1, false},
		"the third one": {[]int{503, 502, 200}, 3, false},
		"never":         {[]int{503}, tries, true},
		"a failure":     {[]int{500, 200}, 1, true},
		"out of time":   {[]int{504, 200}, 1, true},
		"nobody":        {[]int{404, 200}, 1, true},
	} {
		c, seen := called(t, tc.statuses...)
		if err := c.call(t.Context(), event{namespace: "n", function: "f"}); len(*seen) != tc.calls || (err != nil) != tc.fails {
			t.Errorf("%s: %d calls, %v", title, len(*seen), err)
		}
	}
}

// An answer that leads elsewhere is an answer: nobody is asked but the function.
func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere, seen := called(t, 200)
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		site := httptest.NewServer(http.RedirectHandler("http://"+elsewhere.gateway.String()+"/", status))
		t.Cleanup(site.Close)
		c := newCaller(netip.MustParseAddrPort(strings.TrimPrefix(site.URL, "http://")))
		a, reached, err := c.ask(t.Context(), event{namespace: "n", function: "f", data: []byte("x")}, 10)
		if err != nil || !reached || a.code != status || len(*seen) != 0 {
			t.Errorf("%d: %+v, %v, %v, and elsewhere %q", status, a, reached, err, *seen)
		}
	}
}

func TestKindOfData(t *testing.T) {
	for data, want := range map[string]string{`{"a":1}`: "application/json", "[1]": "application/json", "{": "text/plain; charset=utf-8", "7": "text/plain; charset=utf-8", "": "text/plain; charset=utf-8", "\xff": "application/octet-stream"} {
		if got := kindOf([]byte(data)); got != want {
			t.Errorf("%q is %s, want %s", data, got, want)
		}
	}
}

func TestServiceNames(t *testing.T) {
	for host, want := range map[string]string{
		"nats.nats-io.svc.cluster.local": "nats-io/nats", "nats.nats-io.svc": "nats-io/nats", "nats.example.org": "", "svc": "", "10.0.0.1": "", "nats": "",
	} {
		name, ok := service(host)
		if ok != (want != "") || ok && name.String() != want {
			t.Errorf("%s: %v, %v", host, name, ok)
		}
	}
}
