package tenant

import (
	"context"
	"fmt"
	"math"

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
// by the way. Events are left out: they come and go, and go within the hour.
const maxObjects = 2000

var countedObjects = []corev1.ResourceName{
	"count/configmaps", "count/secrets", "count/serviceaccounts", "count/persistentvolumeclaims", "count/podtemplates", "count/replicationcontrollers",
	"count/deployments.apps", "count/statefulsets.apps", "count/daemonsets.apps", "count/jobs.batch", "count/cronjobs.batch",
	"count/horizontalpodautoscalers.autoscaling", "count/poddisruptionbudgets.policy", "count/networkpolicies.networking.k8s.io",
	"count/domainmappings.serving.knative.dev",
	"count/cronjobtriggers.kubeless.io", "count/httptriggers.kubeless.io", "count/natstriggers.kubeless.io",
}

// countedParts are what the controllers make one of for each of Knative's
// services, and users make themselves, too.
var countedParts = []corev1.ResourceName{"count/services", "count/configurations.serving.knative.dev", "count/routes.serving.knative.dev"}

// maxVersions is how many of what stands for its versions each object may have,
// where all others are there, too. Unless told otherwise, a Deployment keeps
// eleven and a configuration 21, and more of them for two days.
const maxVersions = 24

var countedVersions = []corev1.ResourceName{"count/replicasets.apps", "count/controllerrevisions.apps"}

const (
	countedPods      corev1.ResourceName = "count/pods"
	countedRevisions corev1.ResourceName = "count/revisions.serving.knative.dev"
)

// maxPods is how many pods a namespace may have besides those that its quota
// lets run: what has ended counts here, and is kept for who reads its logs.
const maxPods = 10_000

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
// that is only counted: of it a namespace may have what the others leave, or as
// many as of any kind where the owner has not said how many.
func hardOf(q *redoubt.TenantQuota, elsewhere corev1.ResourceList) corev1.ResourceList {
	hard := gate.Hard(q)
	set := func(most int64, names ...corev1.ResourceName) {
		for _, name := range names {
			hard[name] = *resource.NewQuantity(most, resource.DecimalSI)
		}
	}
	left := func(most *int64, name corev1.ResourceName) int64 {
		if most == nil {
			return maxObjects
		}
		others := elsewhere[name]
		return max(0, *most-others.Value())
	}
	set(maxInvocations, countedInvocations)
	set(maxObjects, countedObjects...)
	set(maxVersions*maxObjects, countedVersions...)
	set(maxPods+orElse(q.Pods, 0), countedPods)
	set(left(q.Services, countedServices), countedServices)
	set(left(q.Functions, countedFunctions), countedFunctions)
	parts := maxObjects + orElse(q.Services, maxObjects)
	set(parts, countedParts...)
	set(maxVersions*parts, countedRevisions)
	return hard
}

// orElse is the number that a quota names, as far as anybody can count, or
// another one where it names none.
func orElse(n *int64, other int64) int64 {
	if n == nil {
		return other
	}
	return min(*n, math.MaxInt32)
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

// reported is what the tenant's status says of it: how much of what the owner
// has bounded.
func reported(used corev1.ResourceList, q *redoubt.TenantQuota) redoubt.TenantQuota {
	r := redoubt.TenantQuota{
		CPU:              amountOf(used, corev1.ResourceLimitsCPU),
		Memory:           amountOf(used, corev1.ResourceLimitsMemory),
		EphemeralStorage: amountOf(used, corev1.ResourceLimitsEphemeralStorage),
		Pods:             countOf(used, corev1.ResourcePods),
	}
	if q.Services != nil {
		r.Services = countOf(used, countedServices)
	}
	if q.Functions != nil {
		r.Functions = countOf(used, countedFunctions)
	}
	return r
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
