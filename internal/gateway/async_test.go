package gateway

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

// kept are invocations in memory.
type kept struct {
	mu  sync.Mutex
	all map[types.NamespacedName]*redoubt.Invocation
}

func (k *kept) Create(_ context.Context, i *redoubt.Invocation) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all[types.NamespacedName{Namespace: i.Namespace, Name: i.Name}] = i
	return nil
}

func (k *kept) Get(_ context.Context, name types.NamespacedName) (*redoubt.Invocation, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := k.all[name]; i != nil {
		return i.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("invocations"), name.Name)
}

// asyncRoute labels a route as that of a function whose owner wants it.
func (r *rig) asyncRoute(name string) {
	route := &serving.Route{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name, Labels: map[string]string{kubeless.FunctionLabel: name, redoubt.AsyncLabel: "true"},
	}}
	route.Status.Traffic = []serving.TrafficTarget{{RevisionName: name, Percent: percent(100)}}
	r.sink.SetRoute(route)
}

// later makes a request whose answer is not waited for.
func (r *rig) later(host, path, body string) *http.Response {
	r.Helper()
	req := r.request(http.MethodPost, host, path, strings.NewReader(body))
	req.Header.Set("Prefer", "wait=10, Respond-Async")
	req.Header.Set("Content-Type", "text/csv")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestAnswersThatAreNotWaitedFor(t *testing.T) {
	store := &kept{all: map[types.NamespacedName]*redoubt.Invocation{}}
	r := newRigWith(t, Options{invocations: store})
	r.service("hello", says("at once"), nil)
	// Without the owner's wish the preference is not heard.
	if resp := r.later("hello.default.localhost", "/", "x"); resp.StatusCode != http.StatusOK || len(store.all) != 0 {
		t.Errorf("a service is asked later: %s", resp.Status)
	}
	r.asyncRoute("hello")
	r.expect("hello.default.localhost", http.StatusOK, "at once")
	r.sink.SetTrigger(trigger("default", "t", "hello", "www.example.org", "/orders"))
	resp := r.later("www.example.org", "/orders/x?y", "a,b")
	at := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusAccepted || !strings.HasPrefix(at, "/orders/_redoubt/invocations/hello-") || resp.Header.Get("Preference-Applied") != "respond-async" {
		t.Fatalf("%s, at %q", resp.Status, at)
	}
	name := types.NamespacedName{Namespace: "default", Name: at[strings.LastIndexByte(at, '/')+1:]}
	i := store.all[name]
	if i == nil || string(i.Spec.Data) != "a,b" || i.Spec.ContentType != "text/csv" || i.Spec.Function != "hello" {
		t.Fatalf("%s is kept as %+v", name, i)
	}
	ask := func(path string) (int, string) { return r.do(r.request(http.MethodGet, "www.example.org", path, nil)) }
	if status, _ := ask(at); status != http.StatusAccepted {
		t.Errorf("before there is a result: %d", status)
	}
	i.Status = redoubt.InvocationStatus{Phase: redoubt.InvocationSucceeded, Code: 201, ContentType: "text/plain", Answer: []byte("later")}
	if status, body := ask(at); status != 201 || body != "later" {
		t.Errorf("the result is %d %q", status, body)
	}
	i.Status = redoubt.InvocationStatus{Phase: redoubt.InvocationFailed, Reason: "FunctionFailed", Error: "secret"}
	if status, body := ask(at); status != http.StatusBadGateway || strings.Contains(body, "secret") {
		t.Errorf("a failure is %d %q", status, body)
	}
	// What came another way, or is another function's, cannot be had this way.
	delete(i.Labels, redoubt.ByGatewayLabel)
	for _, path := range []string{at, "/orders/_redoubt/invocations/", "/orders/_redoubt/invocations/../x", "/orders/_redoubt/invocations/none"} {
		if status, _ := ask(path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
	if resp := r.later("www.example.org", "/orders", strings.Repeat("x", redoubt.MaxInvocationData+1)); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large request: %s", resp.Status)
	}
	refused := false
	for range 150 {
		resp := r.later("www.example.org", "/orders", "x")
		_, _ = io.Copy(io.Discard, resp.Body)
		refused = refused || resp.StatusCode == http.StatusTooManyRequests
	}
	if !refused || len(store.all) > 150 {
		t.Errorf("%d requests of one namespace are kept at once", len(store.all))
	}
}

// A request that no instance is for now takes no place of a cold start.
func TestAnswersThatAreNotWaitedForStartNothing(t *testing.T) {
	store := &kept{all: map[types.NamespacedName]*redoubt.Invocation{}}
	r := newRigWith(t, Options{invocations: store})
	r.limited(map[string]string{redoubt.ColdStartsAnnotation: "1"})
	r.revision("absent", 1, nil)
	r.asyncRoute("absent")
	r.revision("wanted", backend(t, "127.0.0.1", 0, says("here")), nil)
	if resp := r.later("absent.default.localhost", "/", "x"); resp.StatusCode != http.StatusAccepted {
		t.Errorf("a request: %s", resp.Status)
	}
	if status, _ := r.do(r.request(http.MethodGet, "absent.default.localhost", "/_redoubt/invocations/none", nil)); status != http.StatusNotFound {
		t.Errorf("a result that is none: %d", status)
	}
	answered := make(chan int, 1)
	go func() {
		status, _ := r.get("wanted.default.localhost")
		answered <- status
	}()
	r.until("a request waits", func() bool { return r.load("wanted").Waiting == 1 || len(answered) > 0 })
	r.pod("wanted", "127.0.0.1")
	if status := <-answered; status != http.StatusOK {
		t.Errorf("a cold start: %d", status)
	}
}

// A password is asked for before anything is stored or handed out.
func TestAnswersThatAreNotWaitedForAreGuarded(t *testing.T) {
	store := &kept{all: map[types.NamespacedName]*redoubt.Invocation{}}
	r := judged(t, secrets{"users": {"auth": []byte(users)}}, Options{invocations: store})
	r.service("hello", says("at once"), nil)
	r.asyncRoute("hello")
	closed := trigger("default", "t", "hello", "", "")
	closed.Spec.BasicAuthSecret = "users"
	r.sink.SetTrigger(closed)
	r.eventually(func() *http.Request { return r.request(http.MethodGet, "hello.default.localhost", "/", nil) }, http.StatusUnauthorized)
	if resp := r.later("hello.default.localhost", "/", "x"); resp.StatusCode != http.StatusUnauthorized || len(store.all) != 0 {
		t.Errorf("without a password: %s", resp.Status)
	}
	if status, _ := r.do(r.request(http.MethodGet, "hello.default.localhost", "/_redoubt/invocations/x", nil)); status != http.StatusUnauthorized {
		t.Errorf("a result without a password: %d", status)
	}
}
