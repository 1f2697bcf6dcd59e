package tenant

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/tenant/gate"
)

// Pod Security levels (KEP-2579) and the label that enforces one.
const (
	enforceLabel = "pod-security.kubernetes.io/enforce"
	baseline     = "baseline"
	restricted   = "restricted"
)

// keep makes a namespace what its tenant's specification means. Its quota
// comes first: it is there before the first pod can be. The rights of its users
// come last.
func (r *reconciler) keep(ctx context.Context, tenant *redoubt.Tenant, resolved *resolution, ns *corev1.Namespace, elsewhere corev1.ResourceList) error {
	if err := r.bound(ctx, tenant, ns.Name, elsewhere); err != nil {
		return err
	}
	annotations := map[string]*string{}
	for key, value := range told(tenant, resolved) {
		if before, there := ns.Annotations[key]; value == "" && there {
			annotations[key] = nil
		} else if value != before {
			annotations[key] = &value
		}
	}
	labels := map[string]*string{}
	if level := security(resolved, ns.Labels[enforceLabel]); level != ns.Labels[enforceLabel] {
		labels[enforceLabel] = &level
	}
	if err := r.mark(ctx, ns, labels, annotations); err != nil {
		return err
	}
	return r.admit(ctx, tenant, ns.Name)
}

// told is what policies and gateways read; what is empty is left out.
func told(tenant *redoubt.Tenant, resolved *resolution) map[string]string {
	var closed strings.Builder
	for _, c := range resolved.closed {
		fmt.Fprintf(&closed, "%s=%s\n", c.Name, c.Reason)
	}
	return map[string]string{
		redoubt.ResolvedAnnotation:      tenant.Name,
		redoubt.FloorAnnotation:         tenant.Spec.Floor,
		redoubt.DefaultClassAnnotation:  resolved.defaultClass,
		redoubt.OpenClassesAnnotation:   strings.Join(resolved.open, ","),
		redoubt.ClosedClassesAnnotation: strings.TrimSuffix(closed.String(), "\n"),
		redoubt.RequestsAnnotation:      number(tenant.Spec.Gateway.RequestsPerSecond),
		redoubt.ColdStartsAnnotation:    number(tenant.Spec.Gateway.ColdStarts),
		redoubt.BoundedAnnotation:       bounded(&tenant.Spec.Quota),
		redoubt.CallsToAnnotation:       strings.Join(tenant.Spec.Calls.To, ","),
		redoubt.CallsFromAnnotation:     strings.Join(tenant.Spec.Calls.From, ","),
	}
}

// bounded is "true" where pods have to wait for their turn, else empty.
func bounded(q *redoubt.TenantQuota) string {
	if len(gate.Hard(q)) > 0 {
		return "true"
	}
	return ""
}

// number is empty for none.
func number(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

// security is the Pod Security level that a namespace gets: restricted where
// pods share the node's kernel, baseline where they do not. A stricter one that
// is there stays.
func security(resolved *resolution, now string) string {
	if resolved.plain || now == restricted {
		return restricted
	}
	return baseline
}

// release forgets a tenant in the namespaces that were its, where no other one
// takes over: those that lost its label lose its quota, too; those whose tenant
// is gone, or never was, keep it, and nothing new runs there until they get
// another one. In neither has any tenant's user rights.
func (r *reconciler) release(ctx context.Context, tenant string, gone bool) error {
	var all corev1.NamespaceList
	if err := r.client.List(ctx, &all); err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	for i := range all.Items {
		ns := &all.Items[i]
		label, was := ns.Labels[redoubt.TenantLabel], ns.Annotations[redoubt.ResolvedAnnotation]
		free := label == ""
		if left := was == tenant && free; !left && (!gone || was != tenant && label != tenant) {
			continue
		}
		if err := r.forget(ctx, ns, free); err != nil {
			return fmt.Errorf("forget tenant %s in namespace %s: %w", tenant, ns.Name, err)
		}
	}
	return nil
}

func (r *reconciler) forget(ctx context.Context, ns *corev1.Namespace, free bool) error {
	if err := r.shutOut(ctx, ns.Name); err != nil {
		return err
	}
	if free {
		if err := r.openGates(ctx, ns.Name); err != nil {
			return err
		}
		if err := r.bound(ctx, &redoubt.Tenant{}, ns.Name, nil); err != nil {
			return err
		}
	}
	annotations := map[string]*string{}
	for key := range ns.Annotations {
		if strings.HasPrefix(key, redoubt.AnnotationPrefix) {
			annotations[key] = nil
		}
	}
	return r.mark(ctx, ns, nil, annotations)
}

// openGates lets pods start that waited for room in a quota that is theirs no
// more.
func (r *reconciler) openGates(ctx context.Context, namespace string) error {
	var pods corev1.PodList
	if err := r.live.List(ctx, &pods, client.InNamespace(namespace), client.MatchingFields{"status.phase": string(corev1.PodPending)}); err != nil {
		return fmt.Errorf("list pods that wait: %w", err)
	}
	for i := range pods.Items {
		if err := gate.Open(ctx, r.client, &pods.Items[i]); err != nil {
			return fmt.Errorf("let pod %s start: %w", pods.Items[i].Name, err)
		}
	}
	return nil
}

// mark sets and removes (nil) labels and annotations with a merge patch (RFC
// 7386). It holds for the namespace as it was read: one that got another
// tenant meanwhile is looked at again.
func (r *reconciler) mark(ctx context.Context, ns *corev1.Namespace, labels, annotations map[string]*string) error {
	if len(labels)+len(annotations) == 0 {
		return nil
	}
	// No map at all would be null, which removes every label that there is.
	change := map[string]any{"resourceVersion": ns.ResourceVersion}
	if len(labels) > 0 {
		change["labels"] = labels
	}
	if len(annotations) > 0 {
		change["annotations"] = annotations
	}
	patch, err := json.Marshal(map[string]any{"metadata": change})
	if err != nil {
		return err
	}
	return client.IgnoreNotFound(r.client.Patch(ctx, ns, client.RawPatch(types.MergePatchType, patch)))
}
