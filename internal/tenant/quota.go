package tenant

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/tenant/gate"
)

// Object is the name of each object that a tenant's namespaces get: the quota,
// the limits and the rights of its users.
const Object = "redoubt-tenant"

// What a quota calls the numbers of objects that it counts.
const (
	countedServices    corev1.ResourceName = "count/services.serving.knative.dev"
	countedFunctions   corev1.ResourceName = "count/functions.kubeless.io"
	countedInvocations corev1.ResourceName = "count/invocations.redoubt.dev"
)

// maxObjects is how many a namespace may have of each other kind that a tenant's
// users make: more than anybody needs, so that nobody fills the cluster's store
// by the way. ReplicaSets are left out: a Deployment keeps eleven of them.
const maxObjects = 2000

var countedObjects = []corev1.ResourceName{
	"count/configmaps", "count/secrets", "count/serviceaccounts", "count/persistentvolumeclaims", "count/podtemplates", "count/replicationcontrollers",
	"count/deployments.apps", "count/statefulsets.apps", "count/daemonsets.apps", "count/jobs.batch", "count/cronjobs.batch",
	"count/horizontalpodautoscalers.autoscaling", "count/poddisruptionbudgets.policy", "count/networkpolicies.networking.k8s.io",
	"count/domainmappings.serving.knative.dev",
}

// countedParts are what the controllers make one of for each of Knative's
// services, and users make themselves, too.
var countedParts = []corev1.ResourceName{"count/services", "count/configurations.serving.knative.dev", "count/routes.serving.knative.dev"}

// maxInvocations is how many a namespace may have at a time: more than are kept
// of those that wait and of those that are over, so that only who makes them
// faster than any are removed is refused.
const maxInvocations = 2000

// What a container gets that says nothing: processors and memory where a quota
// counts them, as Kubernetes refuses pods without limits there; disk always, as
// nothing else keeps one pod from filling its node's.
var (
	defaultLimits = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("256Mi"), corev1.ResourceEphemeralStorage: resource.MustParse("1Gi"),
	}
	defaultRequests = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi"), corev1.ResourceEphemeralStorage: resource.MustParse("16Mi"),
	}
)

// bound keeps the quota of a namespace, and the limits of those of its
// containers that have none. Elsewhere is what the tenant's other namespaces use.
func (r *reconciler) bound(ctx context.Context, tenant *redoubt.Tenant, namespace string, elsewhere corev1.ResourceList) error {
	at := metav1.ObjectMeta{Namespace: namespace, Name: Object}
	quota, limits := &corev1.ResourceQuota{ObjectMeta: at}, &corev1.LimitRange{ObjectMeta: at}
	hard := hardOf(&tenant.Spec.Quota, elsewhere)
	if err := r.ensure(ctx, tenant, limits, tenant.Name != "", func() {
		if want := []corev1.LimitRangeItem{defaultsFor(hard)}; !equality.Semantic.DeepEqual(limits.Spec.Limits, want) {
			limits.Spec.Limits = want
		}
	}); err != nil {
		return fmt.Errorf("keep default limits: %w", err)
	}
	if err := r.ensure(ctx, tenant, quota, tenant.Name != "", func() {
		if !equality.Semantic.DeepEqual(quota.Spec.Hard, hard) {
			quota.Spec.Hard = hard
		}
	}); err != nil {
		return fmt.Errorf("keep quota: %w", err)
	}
	return nil
}

// ensure makes obj, or removes it where it is not wanted.
func (r *reconciler) ensure(ctx context.Context, tenant *redoubt.Tenant, obj client.Object, wanted bool, set func()) error {
	if !wanted {
		err := r.client.Get(ctx, client.ObjectKeyFromObject(obj), obj)
		if err == nil {
			err = r.client.Delete(ctx, obj)
		}
		return client.IgnoreNotFound(err)
	}
	_, err := controllerutil.CreateOrPatch(ctx, r.client, obj, func() error {
		obj.SetLabels(map[string]string{redoubt.TenantLabel: tenant.Name})
		set()
		return nil
	})
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return err
}

// hardOf bounds one namespace. What pods take is bounded by all that the tenant
// may have: package gate bounds it over all namespaces. Nothing waits at a gate
// that is only counted: of it a namespace may have what the others leave.
func hardOf(q *redoubt.TenantQuota, elsewhere corev1.ResourceList) corev1.ResourceList {
	hard := gate.Hard(q)
	hard[countedInvocations] = *resource.NewQuantity(maxInvocations, resource.DecimalSI)
	for _, name := range countedObjects {
		hard[name] = *resource.NewQuantity(maxObjects, resource.DecimalSI)
	}
	if q.Services != nil {
		for _, name := range countedParts {
			hard[name] = *resource.NewQuantity(*q.Services+maxObjects, resource.DecimalSI)
		}
	}
	for name, most := range map[corev1.ResourceName]*int64{countedServices: q.Services, countedFunctions: q.Functions} {
		if most != nil {
			others := elsewhere[name]
			hard[name] = *resource.NewQuantity(max(0, *most-others.Value()), resource.DecimalSI)
		}
	}
	return hard
}

// defaultsFor are the limits of containers that have none.
func defaultsFor(hard corev1.ResourceList) corev1.LimitRangeItem {
	names := []corev1.ResourceName{corev1.ResourceEphemeralStorage}
	for counted, name := range map[corev1.ResourceName]corev1.ResourceName{
		corev1.ResourceLimitsCPU: corev1.ResourceCPU, corev1.ResourceLimitsMemory: corev1.ResourceMemory,
	} {
		if _, ok := hard[counted]; ok {
			names = append(names, name)
		}
	}
	item := corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Default: corev1.ResourceList{}, DefaultRequest: corev1.ResourceList{}}
	for _, name := range names {
		item.Default[name], item.DefaultRequest[name] = defaultLimits[name], defaultRequests[name]
	}
	return item
}

// usage is what each namespace uses of its quota, as the API server counts it.
type usage map[string]corev1.ResourceList

// usage asks for the namespaces' quotas.
func (r *reconciler) usage(ctx context.Context, namespaces []corev1.Namespace) (usage, error) {
	all := usage{}
	for _, ns := range namespaces {
		var quota corev1.ResourceQuota
		if err := r.client.Get(ctx, client.ObjectKey{Namespace: ns.Name, Name: Object}, &quota); client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read quota of namespace %s: %w", ns.Name, err)
		}
		all[ns.Name] = quota.Status.Used
	}
	return all, nil
}

// sum adds up what all namespaces use.
func (u usage) sum() corev1.ResourceList {
	sum := corev1.ResourceList{}
	for _, used := range u {
		for name, amount := range used {
			amount.Add(sum[name])
			sum[name] = amount
		}
	}
	return sum
}

// less is what is left of all without a part of it.
func less(all, part corev1.ResourceList) corev1.ResourceList {
	left := corev1.ResourceList{}
	for name, amount := range all {
		amount.Sub(part[name])
		left[name] = amount
	}
	return left
}

// reported is what the tenant's status says of it.
func reported(used corev1.ResourceList) redoubt.TenantQuota {
	return redoubt.TenantQuota{
		CPU:              amountOf(used, corev1.ResourceLimitsCPU),
		Memory:           amountOf(used, corev1.ResourceLimitsMemory),
		EphemeralStorage: amountOf(used, corev1.ResourceLimitsEphemeralStorage),
		Pods:             countOf(used, corev1.ResourcePods),
		Services:         countOf(used, countedServices),
		Functions:        countOf(used, countedFunctions),
	}
}

func amountOf(used corev1.ResourceList, name corev1.ResourceName) *resource.Quantity {
	if amount, counted := used[name]; counted {
		return &amount
	}
	return nil
}

func countOf(used corev1.ResourceList, name corev1.ResourceName) *int64 {
	if amount, counted := used[name]; counted {
		n := amount.Value()
		return &n
	}
	return nil
}
