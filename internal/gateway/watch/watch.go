// Package watch keeps the gateway's picture of the cluster: it follows domain
// mappings, HTTP triggers, routes, revisions and their pods, and holds of each
// only what routing needs.
package watch

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
	"redoubt.dev/redoubt/internal/kube"
)

// Sink is told of every change, from several goroutines.
type Sink interface {
	SetRoute(*serving.Route)
	DeleteRoute(types.NamespacedName)
	SetMapping(*v1beta1.DomainMapping)
	DeleteMapping(types.NamespacedName)
	SetTrigger(*kubeless.HTTPTrigger)
	DeleteTrigger(types.NamespacedName)
	SetRevision(*serving.Revision)
	DeleteRevision(types.NamespacedName)
	SetPod(*corev1.Pod)
	DeletePod(types.UID)
	SetNamespace(*metav1.PartialObjectMetadata)
	DeleteNamespace(name string)
}

// Watcher follows one cluster.
type Watcher struct{ cache cache.Cache }

// New connects to the cluster of cfg; Run does the watching. With clients it
// follows all pods, not instances alone.
func New(cfg *rest.Config, clients bool) (*Watcher, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), serving.AddToScheme(scheme), v1beta1.AddToScheme(scheme), kubeless.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	instances, err := labels.NewRequirement(serving.RevisionUIDLabel, selection.Exists, nil)
	if err != nil {
		return nil, err
	}
	pods := cache.ByObject{Label: labels.NewSelector().Add(*instances), Transform: stripPod}
	if clients {
		pods.Label = nil
	}
	c, err := cache.New(cfg, cache.Options{
		Scheme: scheme,
		ByObject: map[client.Object]cache.ByObject{
			&v1beta1.DomainMapping{}:   {Transform: stripMapping},
			&kubeless.HTTPTrigger{}:    {Transform: stripTrigger},
			&serving.Route{}:           {Transform: stripRoute},
			&serving.Revision{}:        {Transform: stripRevision},
			&corev1.Pod{}:              pods,
			kube.Metadata("Namespace"): {Transform: stripNamespace},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watch the cluster: %w", err)
	}
	return &Watcher{cache: c}, nil
}

// Run tells sink of everything there is and every change until ctx ends. It
// calls synced once when everything there was at the start has been told.
func (w *Watcher) Run(ctx context.Context, sink Sink, synced func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- w.cache.Start(ctx) }()
	go func() {
		if err := w.register(ctx, sink); err != nil {
			cancel(err)
			return
		}
		synced()
	}()
	err := <-done
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

// register takes one kind after the other, so that revisions are known before
// the routes that name them.
func (w *Watcher) register(ctx context.Context, sink Sink) error {
	kinds := []struct {
		object  client.Object
		handler toolscache.ResourceEventHandler
	}{
		{kube.Metadata("Namespace"), handler(sink.SetNamespace, func(n *metav1.PartialObjectMetadata) { sink.DeleteNamespace(n.Name) })},
		{&serving.Revision{}, handler(sink.SetRevision, func(r *serving.Revision) { sink.DeleteRevision(nameOf(r)) })},
		{&corev1.Pod{}, handler(sink.SetPod, func(p *corev1.Pod) { sink.DeletePod(p.UID) })},
		{&serving.Route{}, handler(sink.SetRoute, func(r *serving.Route) { sink.DeleteRoute(nameOf(r)) })},
		{&v1beta1.DomainMapping{}, handler(sink.SetMapping, func(m *v1beta1.DomainMapping) { sink.DeleteMapping(nameOf(m)) })},
		{&kubeless.HTTPTrigger{}, handler(sink.SetTrigger, func(t *kubeless.HTTPTrigger) { sink.DeleteTrigger(nameOf(t)) })},
	}
	for _, kind := range kinds {
		informer, err := w.cache.GetInformer(ctx, kind.object)
		if err != nil {
			return fmt.Errorf("watch %T: %w", kind.object, err)
		}
		registration, err := informer.AddEventHandler(kind.handler)
		if err != nil {
			return fmt.Errorf("watch %T: %w", kind.object, err)
		}
		if !toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
			return context.Cause(ctx)
		}
	}
	return nil
}

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// handler calls set and remove with typed objects. What was missed while the
// connection was down comes as a tombstone.
func handler[T any](set, remove func(T)) toolscache.ResourceEventHandler {
	with := func(f func(T), o any) {
		if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		if typed, ok := o.(T); ok {
			f(typed)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { with(set, o) },
		UpdateFunc: func(_, o any) { with(set, o) },
		DeleteFunc: func(o any) { with(remove, o) },
	}
}
