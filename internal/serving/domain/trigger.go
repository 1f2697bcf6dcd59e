package domain

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/claim"
)

// reportTrigger writes a trigger's status.
func (r *reconciler) reportTrigger(ctx context.Context, t *kubeless.HTTPTrigger, order []claim.Claim) error {
	before, now := t.DeepCopy(), metav1.Now()
	resolved, open, err := r.function(ctx, t)
	if err != nil {
		return err
	}
	s := &t.Status
	s.ObservedGeneration = t.Generation
	s.URL = r.url(t)
	conclude(&s.Conditions, now, open, resolved, r.judge(claim.OfTrigger(t, r.opts.Domain), order, kubeless.HostClaimed))
	if equality.Semantic.DeepEqual(before.Status, t.Status) {
		return nil
	}
	return client.IgnoreNotFound(r.client.Status().Patch(ctx, t, client.MergeFrom(before)))
}

func (r *reconciler) url(t *kubeless.HTTPTrigger) string {
	url := serving.PublicURL(t.Host(r.opts.Domain), r.opts.URLPort)
	if t.Spec.TLSSecret != "" {
		url = secure(url)
	}
	if t.Prefix() == "/" {
		return url
	}
	return url + t.Prefix()
}

func secure(url string) string { return "https" + strings.TrimPrefix(url, "http") }

// function says whether the trigger's function is there; and, in what is ready
// if all else is, whether a password has to be known for it everywhere.
func (r *reconciler) function(ctx context.Context, t *kubeless.HTTPTrigger) (resolved, ready serving.Condition, err error) {
	resolved = serving.Condition{Type: kubeless.FunctionResolved, Status: corev1.ConditionTrue}
	ready = serving.Condition{Type: serving.Ready, Status: corev1.ConditionTrue}
	var route serving.Route
	err = r.client.Get(ctx, types.NamespacedName{Namespace: t.Namespace, Name: t.Spec.FunctionName}, &route)
	if client.IgnoreNotFound(err) != nil {
		return resolved, ready, err
	}
	if err != nil || route.Labels[kubeless.FunctionLabel] != t.Spec.FunctionName {
		return failed(resolved, "FunctionMissing", fmt.Sprintf("There is no function %q in this namespace.", t.Spec.FunctionName)), ready, nil
	}
	own := t.Spec.FunctionName + "." + t.Namespace + "." + r.opts.Domain
	local := route.Labels[serving.VisibilityLabel] == serving.VisibilityClusterLocal
	if t.Spec.BasicAuthSecret != "" && t.Host(r.opts.Domain) != own && !local {
		ready.Reason = "OpenElsewhere"
		ready.Message = fmt.Sprintf("Without a password the function answers at %s, unless a trigger without a host asks for one there, or the function has the label %s=%s.",
			serving.PublicURL(own, r.opts.URLPort), serving.VisibilityLabel, serving.VisibilityClusterLocal)
	}
	return resolved, ready, nil
}
