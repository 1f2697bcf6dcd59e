package gateway

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func TestHosts(t *testing.T) {
	r := newRig(t)
	r.service("hello", says("hello"), nil)
	r.service("next", says("next"), nil)
	r.route("hello",
		serving.TrafficTarget{RevisionName: "hello", Percent: percent(100)},
		serving.TrafficTarget{RevisionName: "next", Percent: percent(0), Tag: "canary"})
	for _, host := range []string{
		"hello.default.localhost", "hello.default.localhost:8080", "Hello.Default.LOCALHOST.",
		"hello.default.svc.cluster.local", "hello.default.svc", "hello.default",
	} {
		r.expect(host, http.StatusOK, "hello")
	}
	r.expect("canary-hello.default.localhost", http.StatusOK, "next")
	r.expect("canary-hello.default.svc", http.StatusOK, "next")

	req := r.request(http.MethodGet, "hello.default", "/", nil)
	req.Header.Set("Knative-Serving-Tag", "canary")
	if status, body := r.do(req); status != http.StatusOK || body != "next" {
		t.Errorf("by header: %d %q", status, body)
	}
	for _, host := range []string{"hello", "hello.other.localhost", "old-hello.default.localhost", "localhost", "hello.default.example.com", "127.0.0.1"} {
		status, body := r.get(host)
		if status != http.StatusNotFound || !strings.Contains(body, "NAME.NAMESPACE.localhost") {
			t.Errorf("%s: %d %q", host, status, body)
		}
	}
}

func TestClusterLocalRouteIsNotPublic(t *testing.T) {
	r := newRig(t)
	r.service("inside", says("inside"), nil)
	route := &serving.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "inside"}}
	route.Status.Traffic = []serving.TrafficTarget{{RevisionName: "inside", Percent: percent(100)}}
	r.expect("inside.default.localhost", http.StatusOK, "inside")
	route.Labels = map[string]string{serving.VisibilityLabel: serving.VisibilityClusterLocal}
	r.sink.SetRoute(route)
	for _, host := range []string{"inside.default.localhost", "inside.default.svc.cluster.local"} {
		if status, _ := r.get(host); status != http.StatusNotFound {
			t.Errorf("%s from outside: %d", host, status)
		}
	}
}

func TestShares(t *testing.T) {
	r := newRig(t)
	r.service("blue", says("blue"), nil)
	r.service("green", says("green"), nil)
	r.route("site",
		serving.TrafficTarget{RevisionName: "blue", Percent: percent(30)},
		serving.TrafficTarget{RevisionName: "green", Percent: percent(70)})
	got := map[string]int{}
	const n = 600
	for range n {
		_, body := r.get("site.default.localhost")
		got[body]++
	}
	if blue := got["blue"]; blue+got["green"] != n || blue < n*20/100 || blue > n*40/100 {
		t.Errorf("30 to 70 became %v", got)
	}
}

func TestRoutesChangeAndGo(t *testing.T) {
	r := newRig(t)
	r.service("one", says("one"), nil)
	r.service("two", says("two"), nil)
	r.route("site", serving.TrafficTarget{RevisionName: "one", Percent: percent(100), Tag: "old"})
	r.expect("old-site.default", http.StatusOK, "one")
	r.route("site", serving.TrafficTarget{RevisionName: "two", Percent: percent(100)})
	r.expect("site.default", http.StatusOK, "two")
	if status, _ := r.get("old-site.default"); status != http.StatusNotFound {
		t.Errorf("the old tag answers %d", status)
	}
	r.sink.DeleteRoute(types.NamespacedName{Namespace: "default", Name: "site"})
	if status, _ := r.get("site.default"); status != http.StatusNotFound {
		t.Errorf("the deleted route answers %d", status)
	}
}

func TestRouteThatIsNotReady(t *testing.T) {
	r := newRig(t)
	route := &serving.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "new"}}
	route.Status.Conditions = serving.Conditions{{Type: serving.Ready, Status: corev1.ConditionUnknown, Message: "Configuration \"new\" is waiting."}}
	r.sink.SetRoute(route)
	status, body := r.get("new.default")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "is waiting") {
		t.Errorf("%d %q", status, body)
	}
}
