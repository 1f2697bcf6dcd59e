package domain

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
	"redoubt.dev/redoubt/internal/claim"
)

// claimed is a name with all that claim it.
type claimed struct {
	mappings []v1beta1.DomainMapping
	triggers []kubeless.HTTPTrigger
	order    []claim.Claim // the best first, without those of reserved names
}

// claims lists what claims a name.
func (r *reconciler) claims(ctx context.Context, name string) (claimed, error) {
	var mappings v1beta1.DomainMappingList
	var triggers kubeless.HTTPTriggerList
	if err := r.client.List(ctx, &mappings, client.MatchingFields{byName: name}); err != nil {
		return claimed{}, fmt.Errorf("list mappings: %w", err)
	}
	if err := r.client.List(ctx, &triggers, client.MatchingFields{byHost: name}); err != nil {
		return claimed{}, fmt.Errorf("list triggers: %w", err)
	}
	all := claimed{mappings: mappings.Items, triggers: triggers.Items}
	for i := range all.mappings {
		all.order = append(all.order, claim.OfMapping(&all.mappings[i]))
	}
	for i := range all.triggers {
		all.order = append(all.order, claim.OfTrigger(&all.triggers[i], r.opts.Domain))
	}
	all.order = slices.DeleteFunc(all.order, func(c claim.Claim) bool { return c.Reserved(r.opts.Domain) })
	slices.SortFunc(all.order, claim.Compare)
	return all, nil
}

// judge says whether c has what it claims beside the others. It does not say
// who has it instead, where that is another tenant's.
func (r *reconciler) judge(c claim.Claim, order []claim.Claim, kind string) serving.Condition {
	condition := serving.Condition{Type: kind, Status: corev1.ConditionTrue}
	host, path := c.Lost(order)
	switch {
	case c.Reserved(r.opts.Domain) && c.Kind == claim.Trigger:
		return failed(condition, "HostReserved", fmt.Sprintf("Names that end in %q are those of the platform's services; of them, a trigger can have those that end in %q.",
			r.opts.Domain, "."+c.Namespace+"."+r.opts.Domain))
	case c.Reserved(r.opts.Domain):
		return failed(condition, "DomainReserved", fmt.Sprintf("Names that end in %q are those of the platform's services; choose another.", r.opts.Domain))
	case host && c.Kind == claim.Mapping:
		return failed(condition, "DomainAlreadyClaimed", fmt.Sprintf("The domain name %q is already in use by another DomainMapping or HTTPTrigger.", c.Host))
	case host:
		return failed(condition, "HostAlreadyClaimed", fmt.Sprintf("The host %q is already in use in another namespace; choose another.", c.Host))
	case path:
		return failed(condition, "PathAlreadyClaimed", fmt.Sprintf("The path %q of the host %q is already in use by another object of this namespace.", c.Path, c.Host))
	}
	return condition
}

// conclude sets the conditions that are part of being ready, and ready itself,
// which is as the last of them that is not true.
func conclude(conditions *serving.Conditions, now metav1.Time, ready serving.Condition, parts ...serving.Condition) {
	for _, part := range parts {
		conditions.Set(part, now)
		if part.Status != corev1.ConditionTrue {
			ready.Status, ready.Reason, ready.Message = part.Status, part.Reason, part.Message
		}
	}
	conditions.Set(ready, now)
}

func failed(c serving.Condition, reason, message string) serving.Condition {
	c.Status, c.Reason, c.Message = corev1.ConditionFalse, reason, message
	return c
}
