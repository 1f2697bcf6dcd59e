package route

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// leastStep is how long a division stays as it is at least: each is a write.
const leastStep = time.Second

// duration is how long a new revision takes to get all requests; 0 is at once.
// The annotation was checked when it was written.
func duration(route *serving.Route) time.Duration {
	for _, name := range []string{serving.RolloutDurationAnnotation, "serving.knative.dev/rolloutDuration"} {
		if d, err := time.ParseDuration(route.Annotations[name]); err == nil {
			return d
		}
	}
	return 0
}

// rollOut writes resolved targets into the route's status, those that follow a
// configuration as far as its newest revision has been rolled out, and says
// when to look again.
func (r *reconciler) rollOut(ctx context.Context, route *serving.Route, targets []serving.TrafficTarget, now time.Time) (again time.Duration, err error) {
	limit := duration(route)
	var traffic []serving.TrafficTarget
	var rollouts []serving.Rollout
	for _, target := range targets {
		config := target.ConfigurationName
		target.ConfigurationName = "" // the status names revisions
		if config == "" || limit == 0 || target.Percent == nil || *target.Percent < 2 {
			traffic = append(traffic, target)
			continue
		}
		rollout, err := r.rollout(ctx, route, config, target, limit, now)
		if err != nil {
			return 0, err
		}
		if rollout == nil {
			traffic = append(traffic, target)
			continue
		}
		rollouts = append(rollouts, *rollout)
		for _, share := range divided(rollout, limit, now) {
			if share.RevisionName == target.RevisionName {
				own := target
				own.Percent = &share.Percent
				traffic = append(traffic, own)
			} else {
				traffic = append(traffic, serving.TrafficTarget{RevisionName: share.RevisionName, Percent: &share.Percent, LatestRevision: new(bool)})
			}
		}
		if step := max(limit/time.Duration(rollout.Percent-1), leastStep); again == 0 || step < again {
			again = step
		}
	}
	route.Status.Traffic, route.Status.Rollouts = traffic, rollouts
	return again, nil
}

// assigned are the targets that the status was made of: what goes on while
// those of the spec cannot all be resolved. The shares of a rollout are one
// target again; other targets stay with their revisions.
func assigned(status *serving.RouteStatus) []serving.TrafficTarget {
	var targets []serving.TrafficTarget
	for _, target := range status.Traffic {
		at := slices.IndexFunc(status.Rollouts, func(o serving.Rollout) bool {
			return o.RevisionName == target.RevisionName && o.Tag == target.Tag && *cmp.Or(target.LatestRevision, new(bool))
		})
		if at >= 0 {
			rollout := &status.Rollouts[at]
			// What it leaves to others is right before its own share.
			for whole := *cmp.Or(target.Percent, new(int64)); whole < rollout.Percent && len(targets) > 0; {
				whole += *cmp.Or(targets[len(targets)-1].Percent, new(int64))
				targets = targets[:len(targets)-1]
			}
			target.ConfigurationName, target.Percent = rollout.ConfigurationName, &rollout.Percent
		}
		targets = append(targets, target)
	}
	return targets
}

// rollout is the one that is under way to a target's revision, begun now if
// that is new, or nil if there is none or it is over.
func (r *reconciler) rollout(ctx context.Context, route *serving.Route, config string, target serving.TrafficTarget, limit time.Duration, now time.Time) (*serving.Rollout, error) {
	next := &serving.Rollout{ConfigurationName: config, Tag: target.Tag, RevisionName: target.RevisionName, StartTime: metav1.NewTime(now), Percent: *target.Percent}
	at := slices.IndexFunc(route.Status.Rollouts, func(o serving.Rollout) bool { return o.ConfigurationName == config && o.Tag == target.Tag })
	switch {
	case at >= 0 && route.Status.Rollouts[at].RevisionName == target.RevisionName:
		next = &route.Status.Rollouts[at]
		next.Percent = *target.Percent
	case at >= 0: // overtaken by a newer one
		old := route.Status.Rollouts[at]
		old.Percent = next.Percent
		next.From = divided(&old, limit, now)
	default:
		for _, old := range route.Status.Traffic {
			if old.LatestRevision != nil && *old.LatestRevision && old.Tag == target.Tag {
				next.From = append(next.From, serving.RolloutShare{RevisionName: old.RevisionName, Percent: *target.Percent})
			}
		}
	}
	var err error
	if next.From, err = r.others(ctx, route.Namespace, config, target.RevisionName, next.From); err != nil {
		return nil, err
	}
	if len(next.From) == 0 || now.Sub(next.StartTime.Time) >= limit {
		return nil, nil
	}
	return next, nil
}

// others are the shares of those of the configuration's revisions that there
// still are, except the one that is rolled out.
func (r *reconciler) others(ctx context.Context, namespace, config, next string, shares []serving.RolloutShare) ([]serving.RolloutShare, error) {
	var kept []serving.RolloutShare
	for _, share := range shares {
		var rev serving.Revision
		err := r.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: share.RevisionName}, &rev)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read revision %s: %w", share.RevisionName, err)
		}
		if err == nil && rev.DeletionTimestamp == nil && share.RevisionName != next && rev.Labels[serving.ConfigurationLabel] == config {
			kept = append(kept, share)
		}
	}
	return kept, nil
}

// divided is how a rollout divides its percentage at a time: its revision begins with
// one and gets all in the end, the others keep the rest in the proportion that
// they had. Who has nothing left is not in it.
func divided(rollout *serving.Rollout, limit time.Duration, now time.Time) []serving.RolloutShare {
	done := min(max(float64(now.Sub(rollout.StartTime.Time))/float64(limit), 0), 1)
	own := 1 + int64(done*float64(rollout.Percent-1))
	rest, before := rollout.Percent-own, int64(0)
	for _, share := range rollout.From {
		before += share.Percent
	}
	var shares []serving.RolloutShare
	for _, share := range rollout.From {
		// Of what is left to divide, so that rounding loses nothing.
		if part := rest * share.Percent / max(before, 1); part > 0 {
			shares = append(shares, serving.RolloutShare{RevisionName: share.RevisionName, Percent: part})
			rest -= part
		}
		before -= share.Percent
	}
	return append(shares, serving.RolloutShare{RevisionName: rollout.RevisionName, Percent: own + rest})
}
