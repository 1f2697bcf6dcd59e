package clients

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

func made(namespace, name, address string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name)}, Status: corev1.PodStatus{PodIP: address}}
}

func book() *Book {
	b := New(netip.MustParsePrefix("198.18.0.0/16"))
	b.patience = 0
	for namespace, tenant := range map[string]Tenant{
		"acme":      {Name: "acme", To: []string{"shop", "rival"}},
		"acme-test": {Name: "acme", To: []string{"shop", "rival"}},
		"rival":     {Name: "rival", From: []string{"shop"}},
		"shop":      {Name: "shop", From: []string{"acme", "rival"}},
		"plain":     {},
	} {
		b.SetNamespace(namespace, tenant)
	}
	b.SetPod(made("acme", "a", "198.18.0.2"))
	b.SetPod(made("plain", "p", "198.18.0.3"))
	b.SetPod(made("rival", "r", "198.18.0.4"))
	return b
}

// status is that of the answer to a client, 0 where it is admitted.
func (b *Book) status(client, namespace string) int {
	if refusal := b.Admits(netip.MustParseAddr(client), namespace); refusal != nil {
		return refusal.Status
	}
	return 0
}

func TestAdmits(t *testing.T) {
	b := book()
	const acme, platform, rival = "198.18.0.2", "198.18.0.3", "198.18.0.4"
	for _, test := range []struct {
		client, namespace string
		want              int
	}{
		{acme, "acme", 0},
		{acme, "acme-test", 0},
		{acme, "shop", 0},                                     // both allow it
		{acme, "rival", http.StatusForbidden},                 // the called one does not
		{rival, "shop", http.StatusForbidden},                 // the caller does not
		{rival, "acme", http.StatusForbidden},                 // neither does
		{acme, "plain", http.StatusForbidden},                 // the platform allows nobody
		{acme, "nowhere", http.StatusForbidden},               // whether it exists is not told
		{platform, "rival", 0},                                // the platform's own
		{"127.0.0.1", "rival", 0},                             // no pod
		{"198.18.9.9", "acme", http.StatusServiceUnavailable}, // nobody's
	} {
		if got := b.status(test.client, test.namespace); got != test.want {
			t.Errorf("%s to %s: %d, want %d", test.client, test.namespace, got, test.want)
		}
	}
	why := b.Admits(netip.MustParseAddr(acme), "rival").Message
	if !strings.Contains(why, `"acme"`) || !strings.Contains(why, `namespace "rival"`) || !strings.Contains(why, "spec.calls") {
		t.Errorf("refused with %q", why)
	}
	if New(netip.Prefix{}).status(acme, "rival") != 0 {
		t.Error("a book without a range admits not all")
	}
}

// TestTenantOf: what stands in a namespace about another tenant allows nothing.
func TestTenantOf(t *testing.T) {
	ns := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Labels:      map[string]string{redoubt.TenantLabel: "acme"},
		Annotations: map[string]string{redoubt.ResolvedAnnotation: "acme", redoubt.CallsToAnnotation: "shop,rival", redoubt.CallsFromAnnotation: "shop"},
	}}
	shop := Tenant{Name: "shop", To: []string{"acme"}, From: []string{"acme"}}
	acme := TenantOf(ns)
	if !acme.mayCall(shop) || !shop.mayCall(acme) || len(acme.To) != 2 {
		t.Errorf("read %+v", acme)
	}
	ns.Annotations[redoubt.ResolvedAnnotation] = "former"
	if acme = TenantOf(ns); acme.Name != "acme" || acme.mayCall(shop) || shop.mayCall(acme) {
		t.Errorf("of another tenant's: %+v", acme)
	}
}

// TestAddressesChangeHands: an address is the latest pod's that has it.
func TestAddressesChangeHands(t *testing.T) {
	b := book()
	const address = "198.18.0.2"
	b.SetPod(made("rival", "r", address))
	b.DeletePod("a")
	if b.status(address, "acme") == 0 || b.status(address, "rival") != 0 {
		t.Error("the address is still the former pod's")
	}
	b.SetPod(made("rival", "r", "198.18.0.5"))
	if b.status(address, "rival") == 0 {
		t.Error("a pod that moved has its former address")
	}
	ended := made("rival", "r", "198.18.0.5")
	ended.Status.Phase = corev1.PodFailed
	b.SetPod(ended)
	if b.status("198.18.0.5", "rival") == 0 {
		t.Error("a pod that has ended has an address")
	}
}

// TestLatePods: a request is answered the moment its pod becomes known, and
// after a while where it does not.
func TestLatePods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := book()
		b.patience = patience
		go func() {
			time.Sleep(patience / 4)
			b.SetPod(made("acme", "other", "198.18.0.6"))
			b.SetPod(made("acme", "late", "198.18.0.7"))
		}()
		begin := time.Now()
		if got := b.status("198.18.0.7", "acme"); got != 0 || time.Since(begin) != patience/4 {
			t.Errorf("answered %d after %v", got, time.Since(begin))
		}
		begin = time.Now()
		if got := b.status("198.18.0.8", "acme"); got != http.StatusServiceUnavailable || time.Since(begin) != patience {
			t.Errorf("an unknown pod was answered %d after %v", got, time.Since(begin))
		}
	})
}
