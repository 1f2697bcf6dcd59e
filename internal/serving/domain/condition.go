package domain

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
)

// claim says whether a mapping has its name. It does not say who has it
// instead: that is another tenant's.
func (r *reconciler) claim(domain string, first bool) serving.Condition {
	c := serving.Condition{Type: v1beta1.DomainClaimed, Status: corev1.ConditionTrue}
	switch {
	case domain == r.opts.Domain || strings.HasSuffix(domain, "."+r.opts.Domain):
		return failed(c, "DomainReserved", fmt.Sprintf("Names that end in %q are those of the platform's services; choose another.", r.opts.Domain))
	case !first:
		return failed(c, "DomainAlreadyClaimed", fmt.Sprintf("The domain name %q is already in use by another DomainMapping.", domain))
	}
	return c
}

// target says whether what a mapping leads to is there, and can be reached.
func (r *reconciler) target(ctx context.Context, m *v1beta1.DomainMapping) (resolved, ingress serving.Condition, err error) {
	resolved = serving.Condition{Type: v1beta1.ReferenceResolved, Status: corev1.ConditionTrue}
	ingress = serving.Condition{Type: serving.IngressReady, Status: corev1.ConditionTrue}
	ref := &m.Spec.Ref
	var route serving.Route
	if err := r.client.Get(ctx, types.NamespacedName{Namespace: m.Namespace, Name: ref.Name}, &route); client.IgnoreNotFound(err) != nil {
		return resolved, ingress, err
	} else if err != nil || ref.Kind == "Service" && route.Labels[serving.ServiceLabel] != ref.Name {
		ingress.Status, ingress.Reason = corev1.ConditionUnknown, "Waiting"
		return failed(resolved, "ResolveFailed", fmt.Sprintf("%s %q does not exist in this namespace.", ref.Kind, ref.Name)), ingress, nil
	}
	if route.Labels[serving.VisibilityLabel] == serving.VisibilityClusterLocal {
		ingress = failed(ingress, "ClusterLocal", fmt.Sprintf("%s %q is kept from being reached from outside by its label %s.", ref.Kind, ref.Name, serving.VisibilityLabel))
	}
	return resolved, ingress, nil
}

func failed(c serving.Condition, reason, message string) serving.Condition {
	c.Status, c.Reason, c.Message = corev1.ConditionFalse, reason, message
	return c
}
