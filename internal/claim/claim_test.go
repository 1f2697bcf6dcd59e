package claim

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
)

func trigger(namespace, name, host, path string, made int64) Claim {
	return OfTrigger(&kubeless.HTTPTrigger{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.Unix(made, 0)},
		Spec:       kubeless.HTTPTriggerSpec{FunctionName: "f", HostName: host, Path: path},
	}, "localhost")
}

func mapping(namespace, host string, made int64) Claim {
	return OfMapping(&v1beta1.DomainMapping{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: host, CreationTimestamp: metav1.Unix(made, 0)}})
}

func TestReserved(t *testing.T) {
	for _, tc := range []struct {
		claim    Claim
		reserved bool
	}{
		{trigger("mine", "t", "", "", 1), false},
		{trigger("mine", "t", "other.mine.localhost", "", 1), false},
		{trigger("mine", "t", "f.yours.localhost", "", 1), true},
		{trigger("mine", "t", "mine.localhost", "", 1), true},
		{trigger("mine", "t", "f.notmine.localhost", "", 1), true},
		{trigger("mine", "t", "localhost", "", 1), true},
		{trigger("mine", "t", "www.example.org", "", 1), false},
		{trigger("mine", "t", "notlocalhost.org", "", 1), false},
		{mapping("mine", "f.mine.localhost", 1), true},
		{mapping("mine", "www.example.org", 1), false},
	} {
		if got := tc.claim.Reserved("localhost"); got != tc.reserved {
			t.Errorf("%+v: reserved %v", tc.claim, got)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, tc := range []struct {
		claimed, path string
		covers        bool
	}{
		{"", "/any/thing", true}, {"/", "*", true}, {"a", "/a", true}, {"/a", "/a/b", true}, {"/a/", "/a", true},
		{"/a", "/ab", false}, {"/a", "/", false}, {"/a", "/%61", false}, {"/a", "*", false}, {"/a", "", true}, {"/a/b", "/a/b/c", true},
	} {
		if got := trigger("n", "t", "h.org", tc.claimed, 1).Covers(tc.path); got != tc.covers {
			t.Errorf("%q covers %q: %v", tc.claimed, tc.path, got)
		}
	}
}

// The first namespace has the host, and within it the first object has a path.
func TestLost(t *testing.T) {
	first := trigger("b", "one", "h.org", "/x", 1)
	all := []Claim{
		mapping("a", "h.org", 2), trigger("b", "three", "h.org", "/x", 3), trigger("a", "two", "h.org", "/y", 3), trigger("b", "four", "h.org", "", 4), first,
	}
	slices.SortFunc(all, Compare)
	for _, tc := range []struct {
		claim      Claim
		host, path bool
	}{
		{first, false, false}, {mapping("a", "h.org", 2), true, false}, {trigger("a", "two", "h.org", "/y", 3), true, false},
		{trigger("b", "three", "h.org", "/x", 3), false, true}, {trigger("b", "four", "h.org", "", 4), false, false},
	} {
		if host, path := tc.claim.Lost(all); host != tc.host || path != tc.path {
			t.Errorf("%s/%s: lost host %v, path %v", tc.claim.Namespace, tc.claim.Name, host, path)
		}
	}
	// In the same second, the order of finding out does not matter.
	a, b := trigger("a", "t", "h.org", "", time.Now().Unix()), trigger("b", "t", "h.org", "", time.Now().Unix())
	if Compare(a, b) != -Compare(b, a) || Compare(a, b) == 0 {
		t.Error("two claims of one second have no order")
	}
	// Who has it keeps it, though the other's namespace comes before.
	b.held = true
	if Compare(a, b) <= 0 {
		t.Error("a claim of the same second takes the host away")
	}
	b.made = b.made.Add(time.Second)
	if Compare(a, b) >= 0 {
		t.Error("a later claim goes before an earlier one because it says that it has the host")
	}
}
