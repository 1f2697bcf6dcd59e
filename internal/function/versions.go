package function

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

// whose is the function whose source a revision ran, which may have been the last.
func whose(_ context.Context, rev client.Object) []reconcile.Request {
	if !slices.ContainsFunc(rev.(*serving.Revision).Spec.Volumes, HasSource) {
		return nil
	}
	key := client.ObjectKey{Namespace: rev.GetNamespace(), Name: rev.GetLabels()[serving.ConfigurationLabel]}
	return []reconcile.Request{{NamespacedName: key}}
}

// tidySources removes the versions of the source that neither fn has now nor a
// revision, to which one could roll back. It is for functions that are ready with
// svc: then every version before that has become a revision, or never will.
//
// The controllers may not see ConfigMaps, and need not: they say which ones stay.
func (r *reconciler) tidySources(ctx context.Context, fn *kubeless.Function, svc *serving.Service) error {
	// What a cache has not seen yet could run what is removed.
	var now serving.Service
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(svc), &now); err != nil || now.Generation != svc.Generation {
		return client.IgnoreNotFound(err)
	}
	var revisions serving.RevisionList
	if err := r.live.List(ctx, &revisions, client.InNamespace(fn.Namespace), client.MatchingLabels{serving.ConfigurationLabel: fn.Name}); err != nil {
		return fmt.Errorf("list the revisions that have a source: %w", err)
	}
	stay := versionsIn(fn, svc.Spec.Template.Spec.Volumes)
	for _, rev := range revisions.Items {
		maps.Copy(stay, versionsIn(fn, rev.Spec.Volumes))
	}
	gone, err := otherVersions(fn, slices.Sorted(maps.Keys(stay)))
	if err != nil {
		return err
	}
	if err := r.client.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(fn.Namespace), client.MatchingLabelsSelector{Selector: gone}); err != nil {
		return fmt.Errorf("remove old sources: %w", err)
	}
	return nil
}

// runs says whether a revision of fn has the source, which then is there.
func (r *reconciler) runs(ctx context.Context, fn *kubeless.Function, code code) bool {
	var revisions serving.RevisionList
	err := r.client.List(ctx, &revisions, client.InNamespace(fn.Namespace), client.MatchingLabels{serving.ConfigurationLabel: fn.Name})
	return err == nil && slices.ContainsFunc(revisions.Items, func(rev serving.Revision) bool { return slices.ContainsFunc(rev.Spec.Volumes, code.isIn) })
}

// versionsIn are those of fn's source that are mounted.
func versionsIn(fn *kubeless.Function, volumes []corev1.Volume) map[string]bool {
	versions := map[string]bool{}
	for _, v := range volumes {
		if !HasSource(v) {
			continue
		}
		// Who changes the service himself may mount anything.
		if version, ok := strings.CutPrefix(v.ConfigMap.Name, nameOfSource(fn.Name, "")); ok && validation.IsValidLabelValue(version) == nil {
			versions[version] = true
		}
	}
	return versions
}

// otherVersions selects what there is of fn's source besides those that stay.
func otherVersions(fn *kubeless.Function, stay []string) (labels.Selector, error) {
	selector := kubeless.FunctionLabel + "=" + fn.Name + "," + kubeless.SourceLabel
	if len(stay) > 0 {
		selector += "," + kubeless.SourceLabel + " notin (" + strings.Join(stay, ",") + ")"
	}
	return labels.Parse(selector)
}
