// Package clients knows whose pods send requests to the gateway. The gateway
// reaches every pod, and would be the way around the walls between tenants if
// it carried requests of one tenant's pods to another's services.
package clients

import (
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Book has the addresses of pods and the tenants of namespaces. It is ready for
// use by many goroutines once it is made.
type Book struct {
	pods netip.Prefix
	// patience is how long a pod is waited for.
	patience time.Duration

	mu        sync.RWMutex
	pod       map[netip.Addr]pod       // guarded by mu, as are all below
	addresses map[types.UID]netip.Addr // of those in pod
	tenants   map[string]string        // by namespace; empty: none
}

type pod struct {
	uid       types.UID
	namespace string
}

// New returns an empty book. pods is where pods have their addresses from; what
// comes from elsewhere is nobody's. Without it all clients are nobody's.
func New(pods netip.Prefix) *Book {
	return &Book{pods: pods, patience: 5 * time.Second, pod: map[netip.Addr]pod{}, addresses: map[types.UID]netip.Addr{}, tenants: map[string]string{}}
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

// SetNamespace takes in a namespace with its tenant, which may be empty.
func (b *Book) SetNamespace(name, tenant string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tenants[name] = tenant
}

// DeleteNamespace forgets a namespace.
func (b *Book) DeleteNamespace(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.tenants, name)
}

// Admits says whether a client may reach services of a namespace. A pod may send
// its first request before the API server has told of its address: it is
// waited for, and is refused where that does not come.
func (b *Book) Admits(client netip.Addr, namespace string) bool {
	if !b.pods.IsValid() || !b.pods.Contains(client) {
		return true
	}
	const pause = 20 * time.Millisecond
	for end := time.Now().Add(b.patience); ; time.Sleep(pause) {
		if admitted, known := b.judge(client, namespace); known || time.Now().After(end) {
			return admitted
		}
	}
}

func (b *Book) judge(client netip.Addr, namespace string) (admitted, known bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	from, ok := b.pod[client]
	if !ok {
		return false, false
	}
	own, known := b.tenants[from.namespace]
	if !known || own == "" {
		return known, known
	}
	return b.tenants[namespace] == own, true
}
