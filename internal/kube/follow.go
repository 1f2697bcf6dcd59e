package kube

import (
	"context"
	"errors"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Follow fills a cache with all objects of these kinds, and calls changed for
// each that comes, goes, or changes so that news says yes. It returns when all
// are known; what goes on until ctx ends is one of parts.
func Follow(ctx context.Context, known cache.Cache, parts *sync.WaitGroup, kinds []client.Object, news func(before, after client.Object) bool, changed func()) error {
	for _, kind := range kinds {
		informer, err := known.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return err
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { changed() },
			UpdateFunc: func(before, after any) {
				if news(before.(client.Object), after.(client.Object)) {
					changed()
				}
			},
			DeleteFunc: func(any) { changed() },
		}); err != nil {
			return err
		}
	}
	parts.Go(func() { _ = known.Start(ctx) }) // it returns nothing but nil
	if !known.WaitForCacheSync(ctx) {
		return errors.New("the objects of the cluster cannot be read")
	}
	return nil
}

// Metadata stands for objects of one of the core kinds of which labels and
// annotations are enough.
func Metadata(kind string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return m
}
