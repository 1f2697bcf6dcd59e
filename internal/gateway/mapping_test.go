package gateway

import (
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
	"redoubt.dev/redoubt/internal/gateway/table"
)

func mapping(namespace, domain, route string, made time.Time) *v1beta1.DomainMapping {
	return &v1beta1.DomainMapping{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: domain, CreationTimestamp: metav1.NewTime(made)},
		Spec:       v1beta1.DomainMappingSpec{Ref: v1beta1.Reference{Kind: "Service", Name: route}},
	}
}

func TestMappedDomain(t *testing.T) {
	r := newRig(t)
	r.service("hello", says("hello"), nil)
	now := time.Now()
	name := types.NamespacedName{Namespace: "default", Name: "www.example.org"}
	r.sink.SetMapping(mapping("default", name.Name, "hello", now))
	for _, host := range []string{"www.example.org", "WWW.example.org:8080", "www.example.org."} {
		r.expect(host, http.StatusOK, "hello")
	}
	r.sink.SetMapping(mapping("default", name.Name, "gone", now))
	if status, _ := r.get(name.Name); status != http.StatusNotFound {
		t.Errorf("%s leads to a route that does not exist: %d", name.Name, status)
	}
	r.sink.SetMapping(mapping("default", name.Name, "hello", now))
	r.expect(name.Name, http.StatusOK, "hello")
	r.sink.DeleteMapping(name)
	if status, _ := r.get(name.Name); status != http.StatusNotFound {
		t.Errorf("%s answers after its mapping was deleted: %d", name.Name, status)
	}
}

// The oldest mapping has the name, in whichever order they become known, and a
// mapping leads into its own namespace alone.
func TestMappedDomainIsNotTakenAway(t *testing.T) {
	r := newRig(t)
	r.service("hello", says("hello"), nil)
	made := time.Now()
	r.sink.SetMapping(mapping("attacker", "www.example.org", "hello", made.Add(time.Second)))
	if status, _ := r.get("www.example.org"); status != http.StatusNotFound {
		t.Errorf("a mapping reached into another namespace: %d", status)
	}
	r.sink.SetMapping(mapping("default", "www.example.org", "hello", made))
	r.expect("www.example.org", http.StatusOK, "hello")
	r.sink.SetMapping(mapping("attacker", "www.example.org", "hello", made.Add(2*time.Second)))
	r.expect("www.example.org", http.StatusOK, "hello")
	r.sink.DeleteMapping(types.NamespacedName{Namespace: "default", Name: "www.example.org"})
	if status, _ := r.get("www.example.org"); status != http.StatusNotFound {
		t.Errorf("the second mapping reached into another namespace: %d", status)
	}
}

// The names that the platform gives are not for mappings, even before there is
// a route that has them.
func TestMappingsHaveNoNameOfThePlatform(t *testing.T) {
	r := newRig(t)
	r.service("hello", says("hello"), nil)
	for _, host := range []string{"new.other.localhost", "new.other.svc.cluster.local", "new.other.svc"} {
		r.sink.SetMapping(mapping("default", host, "hello", time.Now()))
		if status, _ := r.get(host); status != http.StatusNotFound {
			t.Errorf("%s leads to a mapping: %d", host, status)
		}
	}
	r.service("mine", says("mine"), nil)
	r.sink.SetMapping(mapping("default", "mine.default", "hello", time.Now()))
	if got := r.inside("mine.default", "/"); got != "mine" {
		t.Errorf("inside the cluster, mine.default leads to %q", got)
	}
}

// inside is the revision that a request from inside the cluster goes to.
func (r *rig) inside(host, path string) string {
	r.Helper()
	found, err := r.gateway.table.Find(table.Query{Host: host, Path: []byte(path)})
	if err != nil {
		r.Fatalf("%s%s: %v", host, path, err)
	}
	return found.Revision.Name.Name
}

// Whose namespace is called as a domain ends does not get the domain by a service's
// name, nor by a tag.
func TestMappedDomainIsNotANamespaces(t *testing.T) {
	r := newRig(t)
	r.service("hello", says("hello"), nil)
	r.service("shop", says("default's own"), nil)
	r.route("web", serving.TrafficTarget{RevisionName: "shop", Percent: percent(100), Tag: "my"})
	made := time.Now()
	for _, host := range []string{"shop.default", "my-web.default"} {
		r.expect(host, http.StatusOK, "default's own")
		m := mapping("other", host, "there", made)
		r.sink.SetMapping(m)
		if status, body := r.get(host); status != http.StatusNotFound {
			t.Errorf("%s, which is another's: %d %q", host, status, body)
		}
		r.sink.DeleteMapping(types.NamespacedName{Namespace: "other", Name: host})
		r.sink.SetMapping(mapping("default", host, "hello", made))
		r.expect(host, http.StatusOK, "hello")
		if got := r.inside(host, "/"); got != "shop" {
			t.Errorf("inside the cluster, %s leads to %q", host, got)
		}
	}
}

func TestMappingLeavesAClusterLocalRouteInside(t *testing.T) {
	r := newRig(t)
	r.service("inside", says("inside"), nil)
	r.sink.SetMapping(mapping("default", "www.example.org", "inside", time.Now()))
	r.expect("www.example.org", http.StatusOK, "inside")
	route := &serving.Route{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "inside", Labels: map[string]string{serving.VisibilityLabel: serving.VisibilityClusterLocal},
	}}
	route.Status.Traffic = []serving.TrafficTarget{{RevisionName: "inside", Percent: percent(100)}}
	r.sink.SetRoute(route)
	if status, _ := r.get("www.example.org"); status != http.StatusNotFound {
		t.Errorf("a route that is visible inside only answers from outside: %d", status)
	}
}
