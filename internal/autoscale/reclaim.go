package autoscale

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/serving/lending"
)

const (
	// maxUnplaced bounds for how many waiting pods room is sought, maxOfOne how
	// many of one namespace, as those that cannot be helped are not to hide others,
	// and maxNodes on how many nodes room is sought for one.
	maxUnplaced, maxOfOne, maxNodes = 100, 25, 50
	// unplacedPage is how many pods without a node are read at a time, and
	// maxPages how often.
	unplacedPage, maxPages = 250, 20
	// reclaimLimit is how long instances that made room may take to be gone before
	// more is made: most are within the time that Kubernetes gives by default.
	reclaimLimit = time.Minute
)

// idle is a revision that would lose nothing but time: all its instances are
// frozen, and none has to be kept.
type idle struct {
	revision *serving.Revision
	pods     []corev1.Pod
	since    time.Time // when the last of them was frozen
}

// reclaim makes room for a pod that no node has. A frozen instance takes no
// processor time, but what it asked for is taken from its node all the same, and
// it must not keep out who has work to do. Frozen instances lend processors where
// that is enough; otherwise revisions whose instances are frozen go to zero. Those
// are first that have rested longest.
//
// One pod is helped at a time, and the next one when the node has what was taken
// for it.
func (s *Scaler) reclaim(ctx context.Context, revisions []serving.Revision, now time.Time) error {
	var pods corev1.PodList
	// They are only read, and there may be many: no copies are made.
	if err := s.Client.List(ctx, &pods, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list instances: %w", err)
	}
	if s.awaits(pods.Items, now) || !slices.ContainsFunc(pods.Items, frozen) {
		return nil
	}
	waiting, err := s.unplaced(ctx)
	if err != nil || len(waiting) == 0 {
		return err
	}
	all, lenders := s.idle(pods.Items, revisions, now), lendersOf(pods.Items)
	for i := range waiting {
		pod := &waiting[i]
		lent, given, err := s.roomFor(ctx, pod, lenders, all)
		if err != nil {
			return err
		}
		if len(lent) > 0 {
			if err = s.lend(ctx, pod, lent, now); err == nil {
				return nil
			}
		}
		if len(given) > 0 {
			return errors.Join(err, s.giveUp(ctx, pod, given, now))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unplaced are the pods that the scheduler has found no node for.
func (s *Scaler) unplaced(ctx context.Context) (found []corev1.Pod, err error) {
	of := map[string]int{} // by namespace
	next := ""
	for range maxPages {
		var page corev1.PodList
		err := s.Live.List(ctx, &page, client.MatchingFields{"spec.nodeName": "", "status.phase": string(corev1.PodPending)},
			client.Limit(unplacedPage), client.Continue(next))
		if err != nil {
			return nil, fmt.Errorf("list pods that wait for a node: %w", err)
		}
		for i := range page.Items {
			pod := &page.Items[i]
			if !lacksRoom(pod) || of[pod.Namespace] == maxOfOne {
				continue
			}
			of[pod.Namespace]++
			if found = append(found, *pod); len(found) == maxUnplaced {
				return found, nil
			}
		}
		if next = page.Continue; next == "" {
			break
		}
	}
	return found, nil
}

// idle are the revisions that may be taken away, the longest idle first. One whose
// instances are still wanted would only come back.
func (s *Scaler) idle(pods []corev1.Pod, revisions []serving.Revision, now time.Time) []idle {
	of := map[types.UID][]corev1.Pod{}
	for _, pod := range pods {
		uid := types.UID(pod.Labels[serving.RevisionUIDLabel])
		of[uid] = append(of[uid], pod)
	}
	var all []idle
	for i := range revisions {
		rev := &revisions[i]
		settings, err := SettingsOf(rev)
		if err != nil || settings.Min > 0 || !s.quiet(rev, settings, now) {
			continue
		}
		if since, ok := restingSince(of[rev.UID]); ok {
			all = append(all, idle{revision: rev, pods: of[rev.UID], since: since})
		}
	}
	slices.SortFunc(all, func(a, b idle) int { return a.since.Compare(b.since) })
	return all
}

// awaits says that instances which made room are still there, or have not lent
// yet, and forgets those that are through or take too long.
func (s *Scaler) awaits(pods []corev1.Pod, now time.Time) bool {
	there := map[types.UID]*corev1.Pod{}
	for i := range pods {
		there[pods[i].UID] = &pods[i]
	}
	maps.DeleteFunc(s.reclaimed, func(uid types.UID, at time.Time) bool {
		return there[uid] == nil || now.Sub(at) > reclaimLimit
	})
	maps.DeleteFunc(s.lent, func(uid types.UID, at time.Time) bool {
		return there[uid] == nil || lending.Lent(there[uid]) || now.Sub(at) > lendLimit
	})
	return len(s.reclaimed)+len(s.lent) > 0
}

// quiet says that no instance of the revision is wanted by what is known of its
// load.
func (s *Scaler) quiet(rev *serving.Revision, settings Settings, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tracker(client.ObjectKeyFromObject(rev), now).Quiet(settings, now)
}

// restingSince says when the last of pods was frozen, if all are.
func restingSince(pods []corev1.Pod) (last time.Time, all bool) {
	for i := range pods {
		frozen := kube.PodCondition(&pods[i], serving.PodFrozen)
		if frozen.Status != corev1.ConditionTrue || pods[i].DeletionTimestamp != nil {
			return time.Time{}, false
		}
		if t := frozen.LastTransitionTime.Time; t.After(last) {
			last = t
		}
	}
	return last, len(pods) > 0
}

func frozen(pod corev1.Pod) bool { return kube.PodIs(&pod, serving.PodFrozen) }

// lacksRoom says that the scheduler has found no node for the pod.
func lacksRoom(pod *corev1.Pod) bool {
	c := kube.PodCondition(pod, corev1.PodScheduled)
	return pod.DeletionTimestamp == nil && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
}

// giveUp scales revisions to zero for the sake of a pod.
func (s *Scaler) giveUp(ctx context.Context, pod *corev1.Pod, given []idle, now time.Time) error {
	var failed error
	for _, i := range given {
		next := i.revision.DeepCopy()
		var none int32
		next.Status.DesiredReplicas = &none
		s.Log.Info("scale", "revision", client.ObjectKeyFromObject(next), "from", len(i.pods), "to", none, "roomFor", client.ObjectKeyFromObject(pod))
		if err := s.Client.Status().Patch(ctx, next, client.MergeFrom(i.revision)); err != nil {
			failed = errors.Join(failed, fmt.Errorf("make room on the node: %w", err))
			continue
		}
		s.Events.Eventf(next, nil, corev1.EventTypeNormal, "MadeRoom", "Scale", "its frozen instances made room on their node for a pod that waited")
		for _, p := range i.pods {
			s.reclaimed[p.UID] = now
		}
	}
	return failed
}
