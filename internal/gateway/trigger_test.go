package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
	"redoubt.dev/redoubt/internal/gateway/identity"
)

func trigger(namespace, name, function, host, path string) *kubeless.HTTPTrigger {
	return &kubeless.HTTPTrigger{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.Now()},
		Spec:       kubeless.HTTPTriggerSpec{FunctionName: function, HostName: host, Path: path},
	}
}

// secrets are those of the namespace default.
type secrets map[string]map[string][]byte

func (s secrets) read(_ context.Context, name types.NamespacedName) (map[string][]byte, error) {
	if data, ok := s[name.Name]; ok && name.Namespace == "default" {
		return data, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("secrets"), name.Name)
}

// judged is a rig that reads secrets.
func judged(t *testing.T, s secrets, opts Options) *rig {
	t.Helper()
	opts.secrets = s.read
	r := newRigWith(t, opts)
	go func() { _ = r.gateway.secrets.Run(t.Context()) }()
	return r
}

// eventually waits for an answer.
func (r *rig) eventually(req func() *http.Request, status int) string {
	r.Helper()
	for range 500 {
		if got, body := r.do(req()); got == status {
			return body
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.Fatalf("%s is never answered with %d", req().Host, status)
	return ""
}

// path answers with what the instance was asked for.
var path = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
	fmt.Fprintf(w, "%s %s%s", req.RequestURI, req.Host, req.Header.Get("Authorization"))
})

func TestTriggerLeadsByHostAndPath(t *testing.T) {
	r := newRig(t)
	r.service("all", path, nil)
	r.service("orders", path, nil)
	r.sink.SetTrigger(trigger("default", "a", "all", "www.example.org", ""))
	r.sink.SetTrigger(trigger("default", "b", "orders", "www.example.org", "orders/v1/"))
	for target, want := range map[string]string{
		"/":                  "/ www.example.org",
		"/orders/v1":         "/ www.example.org",
		"/orders/v1/7?x=/a":  "/7?x=/a www.example.org",
		"/orders/v1?x":       "/?x www.example.org",
		"/orders/v10":        "/orders/v10 www.example.org",
		"/orders/v1/%2e%2e/": "/%2e%2e/ www.example.org",
		"/Orders/v1":         "/Orders/v1 www.example.org",
	} {
		if _, got := r.do(r.request(http.MethodGet, "WWW.Example.org", target, nil)); !strings.EqualFold(got, want) {
			t.Errorf("%s: the instance was asked for %q, want %q", target, got, want)
		}
	}
	r.sink.DeleteTrigger(types.NamespacedName{Namespace: "default", Name: "a"})
	if status, _ := r.get("www.example.org"); status != http.StatusNotFound {
		t.Errorf("a path outside of the trigger's: %d", status)
	}
	// The same over HTTP/2, which another server carries.
	if got := r.overHTTP2("www.example.org", "/orders/v1/7%2F8?x"); got != "/7%2F8?x www.example.org" {
		t.Errorf("HTTP/2: the instance was asked for %q", got)
	}
}

// overHTTP2 makes a request with prior knowledge.
func (r *rig) overHTTP2(host, target string) string {
	r.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	r.Cleanup(transport.CloseIdleConnections)
	resp, err := (&http.Client{Transport: transport}).Do(r.request(http.MethodGet, host, target, nil))
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.ProtoMajor != 2 {
		r.Fatalf("%s, %v", resp.Proto, err)
	}
	return string(body)
}

// Nobody gets a host of another namespace's by a trigger: not one that is
// claimed, not a public name, and none inside the cluster.
func TestTriggerTakesNoHost(t *testing.T) {
	r := newRig(t)
	r.service("mine", says("mine"), nil)
	r.service("web", says("web"), nil)
	route := &serving.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "attacker", Name: "evil"}}
	route.Status.Traffic = []serving.TrafficTarget{{RevisionName: "evil", Percent: percent(100)}}
	r.sink.SetRoute(route) // what it leads to does not matter: 503, not 404
	first := trigger("default", "t", "mine", "www.example.org", "")
	first.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
	r.sink.SetTrigger(first)
	for n, host := range []string{"www.example.org", "web.default.localhost", "new.default.localhost", "default.localhost", "web.default", "web.default.svc", "web.default.svc.cluster.local"} {
		r.sink.SetTrigger(trigger("attacker", fmt.Sprint("t", n), "evil", host, ""))
		r.sink.SetTrigger(trigger("attacker", fmt.Sprint("p", n), "evil", host, "/deep/er"))
	}
	for host, want := range map[string]string{"www.example.org": "mine", "web.default.localhost": "web", "web.default.svc.cluster.local": "web"} {
		for _, target := range []string{"/", "/deep/er"} {
			if got := r.inside("web.default", target); got != "web" {
				t.Errorf("inside, web.default%s leads to %q", target, got)
			}
			if _, got := r.do(r.request(http.MethodGet, host, target, nil)); got != want {
				t.Errorf("%s%s is answered with %q", host, target, got)
			}
		}
	}
	if status, body := r.get("new.default.localhost"); status != http.StatusNotFound {
		t.Errorf("a public name of another namespace's: %d %s", status, body)
	}
	// The control: a host that is nobody's is the attacker's.
	r.sink.SetTrigger(trigger("attacker", "own", "evil", "evil.example.org", ""))
	if status, body := r.get("evil.example.org"); status != http.StatusServiceUnavailable {
		t.Errorf("a free host: %d %s", status, body)
	}
	r.sink.DeleteTrigger(types.NamespacedName{Namespace: "default", Name: "t"})
	if status, body := r.get("www.example.org"); status != http.StatusServiceUnavailable {
		t.Errorf("the second does not get what the first gave up: %d %s", status, body)
	}
}

const users = "ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n" // secret

func TestTriggerAsksForAPassword(t *testing.T) {
	r := judged(t, secrets{"users": {"auth": []byte(users)}}, Options{})
	r.service("hello", path, nil)
	r.route("tagged", serving.TrafficTarget{RevisionName: "hello", Percent: percent(100), Tag: "blue"})
	closed := trigger("default", "t", "hello", "", "")
	closed.Spec.BasicAuthSecret = "users"
	r.sink.SetTrigger(closed)
	ask := func(user, password string) func() *http.Request {
		return func() *http.Request {
			req := r.request(http.MethodGet, "hello.default.localhost", "/x", nil)
			if user != "" {
				req.SetBasicAuth(user, password)
			}
			return req
		}
	}
	// What the instance sees of it is nothing.
	if got := r.eventually(ask("ann", "secret"), http.StatusOK); got != "/x hello.default.localhost" {
		t.Errorf("the instance was asked for %q", got)
	}
	for title, req := range map[string]*http.Request{
		"no password": ask("", "")(), "a wrong password": ask("ann", "Secret")(), "another user": ask("bob", "secret")(),
		"the name inside":     r.request(http.MethodGet, "hello.default", "/", nil),
		"the long one inside": r.request(http.MethodGet, "hello.default.svc.cluster.local", "/", nil),
	} {
		if status, _ := r.do(req); status != http.StatusUnauthorized {
			t.Errorf("%s: %d", title, status)
		}
	}
	twice := ask("ann", "secret")()
	twice.Header.Add("Authorization", "Basic Zm9vOmJhcg==")
	if status, _ := r.do(twice); status != http.StatusUnauthorized {
		t.Errorf("two headers: %d", status)
	}
	resp, err := http.DefaultClient.Do(ask("", "")())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Basic realm="t"`) {
		t.Errorf("the question is %q", got)
	}
	// A change of something else does not close it for a moment.
	closed.Spec.CORSEnable = true
	r.sink.SetTrigger(closed)
	if status, body := r.do(ask("ann", "secret")()); status != http.StatusOK {
		t.Errorf("after a change: %d %s", status, body)
	}
	r.sink.DeleteTrigger(types.NamespacedName{Namespace: "default", Name: "t"})
	r.expect("hello.default", http.StatusOK, "/ hello.default")
}

// Without its secret a trigger lets nothing through, and says why.
func TestTriggerWithoutItsSecret(t *testing.T) {
	s := secrets{"empty": {}, "broken": {"auth": []byte("ann:secret")}, "users": {"auth": []byte(users)}}
	for name, says := range map[string]string{"gone": `no secret "gone"`, "empty": "no key auth", "broken": "neither bcrypt"} {
		r := judged(t, s, Options{})
		r.service("hello", path, nil)
		closed := trigger("default", "t", "hello", "", "")
		closed.Spec.BasicAuthSecret = name
		r.sink.SetTrigger(closed)
		for range 500 {
			if status, body := r.get("hello.default.localhost"); status != http.StatusServiceUnavailable {
				t.Fatalf("%s: %d %s", name, status, body)
			} else if strings.Contains(body, says) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if _, body := r.get("hello.default.localhost"); !strings.Contains(body, says) {
			t.Errorf("%s: %q, want %q", name, body, says)
		}
	}
}

func TestTriggerAllowsOtherOrigins(t *testing.T) {
	r := judged(t, secrets{"users": {"auth": []byte(users)}}, Options{})
	r.service("hello", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://one.example")
	}), nil)
	open := trigger("default", "t", "hello", "api.example.org", "")
	open.Spec.CORSEnable, open.Spec.BasicAuthSecret = true, "users"
	r.sink.SetTrigger(open)
	ask := func(method, password string) func() *http.Request {
		return func() *http.Request {
			req := r.request(method, "api.example.org", "/", nil)
			req.Header.Set("Origin", "https://page.example")
			if method == http.MethodOptions {
				req.Header.Set("Access-Control-Request-Method", "POST")
			} else {
				req.SetBasicAuth("ann", password)
			}
			return req
		}
	}
	r.eventually(ask(http.MethodPost, "secret"), http.StatusOK)
	for title, tc := range map[string]struct {
		req    *http.Request
		status int
	}{
		"the question": {ask(http.MethodOptions, "")(), http.StatusOK},
		"the request":  {ask(http.MethodPost, "secret")(), http.StatusOK},
		"a refusal":    {ask(http.MethodPost, "wrong")(), http.StatusUnauthorized},
	} {
		resp, err := http.DefaultClient.Do(tc.req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if origins := resp.Header.Values("Access-Control-Allow-Origin"); resp.StatusCode != tc.status || len(origins) != 1 || origins[0] != "*" {
			t.Errorf("%s: %s, for %q", title, resp.Status, origins)
		}
		if allowed := resp.Header.Get("Access-Control-Allow-Headers"); strings.Contains(allowed, "Authorization") != (title == "the question") {
			t.Errorf("%s: allows the headers %q", title, allowed)
		}
	}
	// Without the switch, none of it.
	r.service("other", says("other"), nil)
	resp, err := http.DefaultClient.Do(r.request(http.MethodOptions, "other.default.localhost", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("a service without a trigger allows %q", got)
	}
}

// A trigger's or a mapping's own certificate is shown for its host, never
// another in its place, and requests without TLS are led to it.
func TestHostHasItsOwnCertificate(t *testing.T) {
	files := issue(t, authorityOf())
	pem := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	own := issue(t, certificateOf("shop.example.org"))
	set := map[string]func(r *rig, host, secret string){
		"trigger": func(r *rig, host, secret string) {
			secured := trigger("default", host, "hello", host, "")
			secured.Spec.TLSSecret = secret
			r.sink.SetTrigger(secured)
		},
		"mapping": func(r *rig, host, secret string) {
			secured := mapping("default", host, "hello", time.Now())
			secured.Spec.TLS = &v1beta1.SecretTLS{SecretName: secret}
			r.sink.SetMapping(secured)
		},
	}
	for kind, set := range set {
		t.Run(kind, func(t *testing.T) {
			r := judged(t, secrets{"pair": {"tls.crt": pem(own.Certificate), "tls.key": pem(own.Key)}}, Options{Authority: files})
			r.service("hello", path, nil)
			set(r, "shop.example.org", "pair")
			set(r, "gone.example.org", "gone")
			ownCertificate(t, r, own, files)
		})
	}
}

func ownCertificate(t *testing.T, r *rig, own, files identity.Files) {
	t.Helper()
	var got string
	err := errors.New("no attempt")
	for range 500 {
		if got, err = what(t, r.trusting(own), "https://shop.example.org/"); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil || !strings.Contains(got, "200 / shop.example.org") {
		t.Errorf("its own certificate: %q, %v", got, err)
	}
	if got, err := what(t, r.trusting(files), "https://shop.example.org/"); err == nil {
		t.Errorf("the authority's certificate is shown for it: %q", got)
	}
	if got, err := what(t, r.trusting(files), "https://gone.example.org/"); err == nil {
		t.Errorf("another certificate is shown where its own is missing: %q", got)
	}
	if got, err := what(t, r.trusting(files), "https://hello.default.localhost/"); err != nil {
		t.Errorf("the control, a name without a certificate of its own: %q, %v", got, err)
	}
	follow := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := follow.Do(r.request(http.MethodGet, "shop.example.org", "/a?b", nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusPermanentRedirect || to != "https://shop.example.org/a?b" {
		t.Errorf("without TLS: %s to %q", resp.Status, to)
	}
}

// A function that is visible inside the cluster only can be reached from
// outside by a trigger, which is made for that.
func TestTriggerOpensAClusterLocalFunction(t *testing.T) {
	r := newRig(t)
	r.service("inside", says("inside"), nil)
	route := &serving.Route{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "inside", Labels: map[string]string{serving.VisibilityLabel: serving.VisibilityClusterLocal},
	}}
	route.Status.Traffic = []serving.TrafficTarget{{RevisionName: "inside", Percent: percent(100)}}
	r.sink.SetRoute(route)
	if status, _ := r.get("inside.default.localhost"); status != http.StatusNotFound {
		t.Errorf("it is there without a trigger: %d", status)
	}
	r.sink.SetTrigger(trigger("default", "t", "inside", "www.example.org", ""))
	r.expect("www.example.org", http.StatusOK, "inside")
	if status, _ := r.get("inside.default.localhost"); status != http.StatusNotFound {
		t.Errorf("its own name leads to it, too: %d", status)
	}
}
