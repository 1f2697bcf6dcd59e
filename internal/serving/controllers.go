// Package serving is the control side of Knative's serving interface: the
// list of controllers, and the manager that runs them and those of tenants,
// functions and triggers.
package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	servingv1 "redoubt.dev/redoubt/api/serving/v1"
	servingv1beta1 "redoubt.dev/redoubt/api/serving/v1beta1"
	"redoubt.dev/redoubt/internal/autoscale"
	"redoubt.dev/redoubt/internal/function"
	"redoubt.dev/redoubt/internal/function/pool"
	"redoubt.dev/redoubt/internal/serving/class"
	"redoubt.dev/redoubt/internal/serving/collection"
	"redoubt.dev/redoubt/internal/serving/configuration"
	"redoubt.dev/redoubt/internal/serving/domain"
	"redoubt.dev/redoubt/internal/serving/lending"
	"redoubt.dev/redoubt/internal/serving/revision"
	"redoubt.dev/redoubt/internal/serving/route"
	"redoubt.dev/redoubt/internal/serving/routing"
	"redoubt.dev/redoubt/internal/serving/secrets"
	"redoubt.dev/redoubt/internal/serving/service"
	"redoubt.dev/redoubt/internal/tenant"
	"redoubt.dev/redoubt/internal/tenant/gate"
	"redoubt.dev/redoubt/internal/trigger"
)

// Options are the controller role's.
type Options struct {
	// Domain and URLPort make routes' public URLs.
	Domain  string
	URLPort int
	// Gateway is where the gateway answers inside the cluster, Gateways the
	// admin addresses of all of them.
	Gateway  netip.AddrPort
	Gateways []string
	// NATS is where NATSTriggers get messages from.
	NATS trigger.NATSOptions
	// Admin is where health and metrics are served, host:port.
	Admin string
	// LeaderElect lets several controllers stand by for one another.
	LeaderElect bool
}

// Run runs the controllers until ctx ends.
func Run(ctx context.Context, cfg *rest.Config, opts Options) error {
	mgr, err := newManager(cfg, opts)
	if err != nil {
		return fmt.Errorf("set up controllers: %w", err)
	}
	waits := &gate.Waits{}
	for _, add := range []func(ctrl.Manager) error{
		service.Add,
		configuration.Add,
		func(mgr ctrl.Manager) error { return addRevisions(mgr, opts.Gateways, waits) },
		routing.Add,
		collection.Add,
		lending.Add,
		class.Add,
		class.AddIsolation,
		class.AddOrphan,
		func(mgr ctrl.Manager) error { return function.Add(mgr, waits) },
		tenant.Add,
		func(mgr ctrl.Manager) error { return gate.Add(mgr, waits) },
		secrets.Add,
		func(mgr ctrl.Manager) error {
			return route.Add(mgr, route.Options{Domain: opts.Domain, URLPort: opts.URLPort, Gateway: opts.Gateway})
		},
		func(mgr ctrl.Manager) error { return trigger.AddCron(mgr, opts.Gateway) },
		func(mgr ctrl.Manager) error { return trigger.AddInvocations(mgr, opts.Gateway) },
		func(mgr ctrl.Manager) error { return trigger.AddNATS(mgr, opts.Gateway, opts.NATS) },
		func(mgr ctrl.Manager) error {
			return domain.Add(mgr, domain.Options{Domain: opts.Domain, URLPort: opts.URLPort})
		},
	} {
		if err := add(mgr); err != nil {
			return fmt.Errorf("set up controllers: %w", err)
		}
	}
	return mgr.Start(ctx)
}

// addRevisions adds the controller of revisions, what decides how many instances
// each has, and the pools that both take spare ones from.
func addRevisions(mgr ctrl.Manager, gateways []string, waits *gate.Waits) error {
	spares, err := pool.Add(mgr)
	if err != nil {
		return err
	}
	return errors.Join(revision.Add(mgr, spares, waits), mgr.Add(&autoscale.Scaler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Gateways: gateways, Spares: spares,
		Log: mgr.GetLogger().WithName("autoscale"), Events: mgr.GetEventRecorder("redoubt-autoscaler"),
	}))
}

// workers is how many objects of one kind are worked on at a time: most of the
// work is waiting for the API server.
const workers = 8

func newManager(cfg *rest.Config, opts Options) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	var failed error
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, servingv1.AddToScheme, servingv1beta1.AddToScheme, redoubt.AddToScheme, kubeless.AddToScheme,
	} {
		failed = errors.Join(failed, add(scheme))
	}
	if failed != nil {
		return nil, failed
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       metricsserver.Options{BindAddress: opts.Admin, ExtraHandlers: map[string]http.Handler{}},
		HealthProbeBindAddress:        "0",
		LeaderElection:                opts.LeaderElect,
		LeaderElectionID:              "redoubt-controller",
		LeaderElectionNamespace:       class.Namespace,
		LeaderElectionReleaseOnCancel: true,
		Cache:                         cacheOptions(),
		Controller:                    ctrlconfig.Controller{MaxConcurrentReconciles: workers},
	})
	if err != nil {
		return nil, err
	}
	ready := &healthz.Handler{Checks: map[string]healthz.Checker{"caches": func(req *http.Request) error {
		if !mgr.GetCache().WaitForCacheSync(req.Context()) {
			return errors.New("caches are not filled yet")
		}
		return nil
	}}}
	return mgr, errors.Join(
		mgr.AddMetricsServerExtraHandler("/readyz", http.StripPrefix("/readyz", ready)),
		mgr.AddMetricsServerExtraHandler("/livez", healthz.CheckHandler{Checker: healthz.Ping}),
	)
}

// strip forgets what kubectl and the API server keep of an object's fields: half
// of a small object, of which nothing is asked here. Patches say what has changed
// since the object was read, so they leave it.
func strip(o any) (any, error) {
	object, err := meta.Accessor(o)
	if err != nil {
		return o, nil // it stands for one that was deleted
	}
	object.SetManagedFields(nil)
	if annotations := object.GetAnnotations(); annotations[corev1.LastAppliedConfigAnnotation] != "" {
		delete(annotations, corev1.LastAppliedConfigAnnotation)
		object.SetAnnotations(annotations)
	}
	return o, nil
}

// cacheOptions keep in memory only what the controllers made themselves, and
// nothing of how objects came to be as they are.
func cacheOptions() cache.Options {
	has := func(label string) cache.ByObject {
		r, err := labels.NewRequirement(label, selection.Exists, nil)
		if err != nil {
			panic(err) // the label is a constant
		}
		return cache.ByObject{Label: labels.NewSelector().Add(*r)}
	}
	return cache.Options{
		DefaultTransform: strip,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:           has(servingv1.RevisionUIDLabel),
			&corev1.Service{}:       has(servingv1.RouteLabel),
			&corev1.ResourceQuota{}: has(redoubt.TenantLabel),
			&corev1.LimitRange{}:    has(redoubt.TenantLabel),
			&rbacv1.RoleBinding{}:   {Field: fields.OneTermEqualSelector("metadata.name", tenant.Object)},
			&redoubt.Invocation{}:   {Transform: trigger.StripInvocation},
			&corev1.ConfigMap{}:     {Namespaces: map[string]cache.Config{class.Namespace: {}}},
		},
	}
}
