package clients

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func made(namespace, name, address string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name)}, Status: corev1.PodStatus{PodIP: address}}
}

func book() *Book {
	b := New(netip.MustParsePrefix("198.18.0.0/16"))
	b.patience = 0
	for namespace, tenant := range map[string]string{"acme": "acme", "acme-test": "acme", "rival": "rival", "plain": ""} {
		b.SetNamespace(namespace, tenant)
	}
	b.SetPod(made("acme", "a", "198.18.0.2"))
	b.SetPod(made("plain", "p", "198.18.0.3"))
	return b
}

func TestAdmits(t *testing.T) {
	b := book()
	for _, test := range []struct {
		client, namespace string
		want              bool
	}{
		{"198.18.0.2", "acme", true},
		{"198.18.0.2", "acme-test", true},
		{"198.18.0.2", "rival", false},
		{"198.18.0.2", "plain", false},
		{"198.18.0.2", "nowhere", false},
		{"198.18.0.3", "rival", true}, // the platform's own
		{"127.0.0.1", "rival", true},  // no pod
		{"198.18.9.9", "acme", false}, // nobody's, however long one waits
	} {
		if got := b.Admits(netip.MustParseAddr(test.client), test.namespace); got != test.want {
			t.Errorf("%s to %s: %t, want %t", test.client, test.namespace, got, test.want)
		}
	}
	if !New(netip.Prefix{}).Admits(netip.MustParseAddr("198.18.0.2"), "rival") {
		t.Error("a book without a range admits not all")
	}
}

// TestAddressesChangeHands: an address is the latest pod's that has it.
func TestAddressesChangeHands(t *testing.T) {
	b := book()
	address := netip.MustParseAddr("198.18.0.2")
	b.SetPod(made("rival", "r", "198.18.0.2"))
	b.DeletePod("a")
	if b.Admits(address, "acme") || !b.Admits(address, "rival") {
		t.Error("the address is still the former pod's")
	}
	b.SetPod(made("rival", "r", "198.18.0.4"))
	if b.Admits(address, "rival") {
		t.Error("a pod that moved has its former address")
	}
	ended := made("rival", "r", "198.18.0.4")
	ended.Status.Phase = corev1.PodFailed
	b.SetPod(ended)
	if b.Admits(netip.MustParseAddr("198.18.0.4"), "rival") {
		t.Error("a pod that has ended has an address")
	}
}
