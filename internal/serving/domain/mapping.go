package domain

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
	"redoubt.dev/redoubt/internal/claim"
)

// reportMapping writes a mapping's status.
func (r *reconciler) reportMapping(ctx context.Context, m *v1beta1.DomainMapping, order []claim.Claim) error {
	before, now := m.DeepCopy(), metav1.Now()
	resolved, ingress, err := r.target(ctx, m)
	if err != nil {
		return err
	}
	s := &m.Status
	s.ObservedGeneration = m.Generation
	s.URL = serving.PublicURL(m.Name, r.opts.URLPort)
	if m.Spec.TLS != nil {
		s.URL = secure(s.URL)
	}
	s.Address = &serving.Address{URL: s.URL}
	ready := serving.Condition{Type: serving.Ready, Status: corev1.ConditionTrue}
	conclude(&s.Conditions, now, ready, certificate(m), ingress, resolved, r.judge(claim.OfMapping(m), order, v1beta1.DomainClaimed))
	if equality.Semantic.DeepEqual(before.Status, m.Status) {
		return nil
	}
	return client.IgnoreNotFound(r.client.Status().Patch(ctx, m, client.MergeFrom(before)))
}

// certificate says where that of the name comes from. Only the gateway may read
// it: it refuses requests while it cannot be used, and says why.
func certificate(m *v1beta1.DomainMapping) serving.Condition {
	c := serving.Condition{Type: v1beta1.CertificateProvisioned, Status: corev1.ConditionTrue, Reason: "TLSNotEnabled",
		Message: "The gateway's own certificate is shown for this name, if it has one."}
	if m.Spec.TLS != nil {
		c.Reason, c.Message = "CertificateExternallyProvided", fmt.Sprintf("The certificate is that of the secret %q.", m.Spec.TLS.SecretName)
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
