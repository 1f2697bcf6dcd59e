package gateway

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
	"redoubt.dev/redoubt/internal/claim"
	"redoubt.dev/redoubt/internal/gateway/clients"
	"redoubt.dev/redoubt/internal/gateway/guard"
	"redoubt.dev/redoubt/internal/gateway/instance"
	"redoubt.dev/redoubt/internal/gateway/quota"
	"redoubt.dev/redoubt/internal/gateway/secret"
	"redoubt.dev/redoubt/internal/gateway/table"
	"redoubt.dev/redoubt/internal/gateway/watch"
)

// sink passes changes in the cluster to the parts that they concern.
type sink struct {
	table   *table.Table
	clients *clients.Book
	quotas  *quota.Book
	tracker *instance.Tracker
	secrets *secret.Keeper
}

var _ watch.Sink = sink{}

func (s sink) SetRoute(r *serving.Route)             { s.table.SetRoute(r) }
func (s sink) DeleteRoute(name types.NamespacedName) { s.table.DeleteRoute(name) }
func (s sink) SetMapping(m *v1beta1.DomainMapping) {
	g := guard.OfMapping(m)
	if g != nil {
		s.secrets.Keep(g)
	} else {
		s.secrets.Forget(guard.Owner{Kind: claim.Mapping, NamespacedName: client.ObjectKeyFromObject(m)})
	}
	s.table.SetMapping(m, g)
}
func (s sink) DeleteMapping(name types.NamespacedName) {
	s.table.DeleteMapping(name)
	s.secrets.Forget(guard.Owner{Kind: claim.Mapping, NamespacedName: name})
}
func (s sink) SetTrigger(t *kubeless.HTTPTrigger) {
	g := guard.OfTrigger(t)
	s.secrets.Keep(g)
	s.table.SetTrigger(t, g)
}
func (s sink) DeleteTrigger(name types.NamespacedName) {
	s.table.DeleteTrigger(name)
	s.secrets.Forget(guard.Owner{Kind: claim.Trigger, NamespacedName: name})
}
func (s sink) SetRevision(r *serving.Revision) { s.tracker.SetRevision(r) }
func (s sink) DeleteNamespace(name string) {
	s.clients.DeleteNamespace(name)
	s.quotas.DeleteNamespace(name)
}
func (s sink) SetNamespace(n *metav1.PartialObjectMetadata) {
	s.clients.SetNamespace(n.Name, clients.TenantOf(n))
	s.quotas.SetNamespace(n.Name, n.Labels[redoubt.TenantLabel], quota.Read(n.Annotations))
}
func (s sink) SetPod(p *corev1.Pod) {
	s.clients.SetPod(p)
	if p.Labels[serving.RevisionUIDLabel] != "" {
		s.tracker.SetPod(p)
	}
}
func (s sink) DeletePod(uid types.UID) {
	s.clients.DeletePod(uid)
	s.tracker.DeletePod(uid)
}
func (s sink) DeleteRevision(n types.NamespacedName) {
	s.tracker.DeleteRevision(n)
	s.table.DeleteRevision(n)
}
