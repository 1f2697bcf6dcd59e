// Package clients knows whose pods send requests to the gateway. The gateway
// reaches every pod, and would be the way around the walls between tenants if
// it carried requests of one tenant's pods to another's services without the
// consent of both.
//
// Who a client is follows from the address that its connection comes from, which
// no pod can choose (package walls), and from nothing that it sends.
package clients

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"redoubt.dev/redoubt/internal/gateway/balance"
)

// patience is how long a pod is waited for whose address is not known yet.
const patience = time.Second

// Book has the addresses of pods and the tenants of namespaces. It is ready for
// use by many goroutines once it is made.
type Book struct {
	pods     netip.Prefix
	patience time.Duration

	mu        sync.RWMutex
	pod       map[netip.Addr]pod       // guarded by mu, as are all below
	addresses map[types.UID]netip.Addr // of those in pod
	tenants   map[string]Tenant        // by namespace
	changed   chan struct{}            // closed at the next change of the above
}

type pod struct {
	uid       types.UID
	namespace string
}

// New returns an empty book. pods is where pods have their addresses from; what
// comes from elsewhere is nobody's. Without it all clients are nobody's.
func New(pods netip.Prefix) *Book {
	return &Book{
		pods: pods, patience: patience,
		pod: map[netip.Addr]pod{}, addresses: map[types.UID]netip.Addr{}, tenants: map[string]Tenant{}, changed: make(chan struct{}),
	}
}

// SetPod takes in a new or changed pod. The latest to have an address has it.
func (b *Book) SetPod(p *corev1.Pod) {
	ended := p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
	address, err := netip.ParseAddr(p.Status.PodIP)
	if err != nil || ended || !b.pods.Contains(address) {
		b.DeletePod(p.UID)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.addresses[p.UID] != address {
		b.forget(p.UID)
		b.addresses[p.UID] = address
		b.pod[address] = pod{uid: p.UID, namespace: p.Namespace}
		b.wake()
	}
}

// DeletePod forgets a pod.
func (b *Book) DeletePod(uid types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(uid)
}

// forget is called with b.mu held.
func (b *Book) forget(uid types.UID) {
	if address, ok := b.addresses[uid]; ok {
		delete(b.addresses, uid)
		if b.pod[address].uid == uid {
			delete(b.pod, address)
		}
	}
}

// SetNamespace takes in a namespace with its tenant.
func (b *Book) SetNamespace(name string, tenant Tenant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tenants[name] = tenant
	b.wake()
}

// DeleteNamespace forgets a namespace.
func (b *Book) DeleteNamespace(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.tenants, name)
}

// wake lets those look again who wait for a pod; b.mu is held.
func (b *Book) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Admits returns nil where a client may call services of a namespace, and what
// to answer where not. A pod may send its first request before the API server
// has told of its address: it is waited for a moment, and then told to come
// again.
func (b *Book) Admits(client netip.Addr, namespace string) *balance.Refusal {
	if !b.pods.IsValid() || !b.pods.Contains(client) {
		return nil
	}
	var late <-chan time.Time
	for {
		refusal, changed := b.judge(client, namespace)
		if changed == nil {
			return refusal
		}
		if late == nil {
			late = time.After(b.patience)
		}
		select {
		case <-changed:
		case <-late:
			return unknown
		}
	}
}

var unknown = &balance.Refusal{Status: http.StatusServiceUnavailable, Message: "whose pod has the address that this request comes from is not known yet; try again later"}

// judge also returns what is closed at the next change, where it cannot be said
// yet who the client is.
func (b *Book) judge(client netip.Addr, namespace string) (*balance.Refusal, <-chan struct{}) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	from, known := b.pod[client]
	if !known {
		return nil, b.changed
	}
	caller, known := b.tenants[from.namespace]
	if !known {
		return nil, b.changed
	}
	if caller.mayCall(b.tenants[namespace]) {
		return nil, nil
	}
	return &balance.Refusal{Status: http.StatusForbidden, Message: fmt.Sprintf(
		"pods of the tenant %q may not call services of the namespace %q: both tenants must allow it, the caller's in spec.calls.to and the other in spec.calls.from",
		caller.Name, namespace)}, nil
}
