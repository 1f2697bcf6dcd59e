package gateway

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"redoubt.dev/redoubt/internal/gateway/trace"
)

// spans is what a collector got, in OTLP over HTTP.
type spans struct {
	*testing.T
	mu  sync.Mutex
	all []*otlp.Span // guarded by mu
}

func (s *spans) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var sent collector.ExportTraceServiceRequest
	if err != nil || req.URL.Path != "/v1/traces" || proto.Unmarshal(body, &sent) != nil {
		s.Errorf("the collector got %s %s, %v", req.Method, req.URL.Path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range sent.ResourceSpans {
		for _, scope := range r.ScopeSpans {
			s.all = append(s.all, scope.Spans...)
		}
	}
}

// of are those of one trace, by name.
func (s *spans) of(trace string) map[string]*otlp.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]*otlp.Span{}
	for _, span := range s.all {
		if hex.EncodeToString(span.TraceId) == trace {
			found[span.Name] = span
		}
	}
	return found
}

func text(span *otlp.Span, key string) string {
	for _, a := range span.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

const (
	browser = "00f067aa0ba902b7"
	first   = "4bf92f3577b34da6a3ce929d0e0e4736"
	second  = "4bf92f3577b34da6a3ce929d0e0e4737"
)

// A trace goes on from the client through the gateway to the instance, and
// shows what the request waited for; in every protocol.
func TestTraces(t *testing.T) {
	got := &spans{T: t}
	server := httptest.NewServer(got)
	t.Cleanup(server.Close)
	r := newRigWith(t, Options{Trace: trace.Options{Endpoint: server.URL, Share: 1}})
	parents := make(chan string, 2)
	port := backend(t, "127.0.0.1", 0, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { parents <- req.Header.Get("Traceparent") }))
	r.revision("traced", port, nil)
	ask := func(from *http.Client, trace string) string {
		req := r.request(http.MethodGet, "traced.default", "/path?secret=1", nil)
		req.Header.Set("Traceparent", "00-"+trace+"-"+browser+"-01")
		resp, err := from.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return <-parents
	}
	go func() {
		r.until("it waits", func() bool { return r.load("traced").Waiting == 1 })
		r.pod("traced", "127.0.0.1")
	}()
	for trace, parent := range map[string]string{first: ask(http.DefaultClient, first), second: ask(http2(), second)} {
		var found map[string]*otlp.Span
		r.until("the collector has the trace", func() bool { found = got.of(trace); return found["GET"] != nil && found["instance"] != nil })
		whole, instance := found["GET"], found["instance"]
		if hex.EncodeToString(whole.ParentSpanId) != browser || string(instance.ParentSpanId) != string(whole.SpanId) {
			t.Errorf("%s: the request's parent is %x, the instance's %x", trace, whole.ParentSpanId, instance.ParentSpanId)
		}
		if want := "00-" + trace + "-" + hex.EncodeToString(instance.SpanId) + "-01"; parent != want {
			t.Errorf("the instance got %q, want %q", parent, want)
		}
		if path := text(whole, "url.path"); path != "/path" || text(whole, "redoubt.revision") != "traced" || !strings.HasPrefix(text(instance, "k8s.pod.name"), "traced") {
			t.Errorf("the spans are %v and %v", whole, instance)
		}
		if waited := found["create"] != nil; waited != (trace == first) {
			t.Errorf("%s: waited for an instance: %t", trace, waited)
		}
	}
}

// Who records nothing changes nothing of the client's trace.
func TestTracesThatAreNotRecorded(t *testing.T) {
	got := &spans{T: t}
	server := httptest.NewServer(got)
	t.Cleanup(server.Close)
	r := newRigWith(t, Options{Trace: trace.Options{Endpoint: server.URL, Share: 0}})
	parents := make(chan string, 1)
	r.service("traced", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { parents <- req.Header.Get("Traceparent") }), nil)
	req := r.request(http.MethodGet, "traced.default", "/", nil)
	req.Header.Set("Traceparent", "00-"+first+"-"+browser+"-01")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if parent := <-parents; parent != req.Header.Get("Traceparent") || len(got.of(first)) > 0 {
		t.Errorf("the instance got %q, the collector %v", parent, got.of(first))
	}
}
