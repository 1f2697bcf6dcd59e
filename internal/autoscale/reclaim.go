package autoscale

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	requests "k8s.io/component-helpers/resource"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
)

const (
	// maxUnplaced bounds how many waiting pods are looked at, and maxNodes on
	// how many nodes room is sought for one.
	maxUnplaced, maxNodes = 100, 50
)

// one is a pod's place.
var one = resource.MustParse("1")

// idle is a revision that would lose nothing but time: all its instances are
// frozen, and none has to be kept.
type idle struct {
	revision *serving.Revision
	pods     []corev1.Pod
	since    time.Time // when the last of them was frozen
}

// reclaim makes room for a pod that no node has: revisions whose instances are
// frozen go to zero, those first that have rested longest. A frozen instance
// takes no processor time, but what it asked for is taken from its node all the
// same, and it must not keep out who has work to do.
//
// One pod is helped at a time, and the next one when what was taken away for it
// is gone.
func (s *Scaler) reclaim(ctx context.Context, revisions []serving.Revision, now time.Time) error {
	all, err := s.idle(ctx, revisions, now)
	if err != nil || len(all) == 0 {
		return err
	}
	var waiting corev1.PodList
	err = s.Live.List(ctx, &waiting, client.MatchingFields{"spec.nodeName": "", "status.phase": string(corev1.PodPending)}, client.Limit(maxUnplaced))
	if err != nil {
		return fmt.Errorf("list pods that wait for a node: %w", err)
	}
	for i := range waiting.Items {
		pod := &waiting.Items[i]
		if !lacksRoom(pod) {
			continue
		}
		given, err := s.roomFor(ctx, pod, all)
		if err != nil {
			return err
		}
		if len(given) > 0 {
			return s.giveUp(ctx, pod, given)
		}
	}
	return nil
}

// idle are the revisions that may be taken away, the longest idle first; none
// while instances that were taken away before are still there. One that had
// requests within its window would only come back.
func (s *Scaler) idle(ctx context.Context, revisions []serving.Revision, now time.Time) ([]idle, error) {
	var pods corev1.PodList
	// They are only read, and there may be many: no copies are made.
	if err := s.Client.List(ctx, &pods, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	of := map[types.UID][]corev1.Pod{}
	there := map[types.UID]bool{}
	for _, pod := range pods.Items {
		uid := types.UID(pod.Labels[serving.RevisionUIDLabel])
		of[uid] = append(of[uid], pod)
		there[pod.UID] = true
	}
	s.reclaimed = slices.DeleteFunc(s.reclaimed, func(uid types.UID) bool { return !there[uid] })
	if len(s.reclaimed) > 0 {
		return nil, nil
	}
	var all []idle
	for i := range revisions {
		rev := &revisions[i]
		settings, err := SettingsOf(rev)
		if err != nil || settings.Min > 0 || s.quietFor(rev, now) < settings.Stable {
			continue
		}
		if since, ok := restingSince(of[rev.UID]); ok {
			all = append(all, idle{revision: rev, pods: of[rev.UID], since: since})
		}
	}
	slices.SortFunc(all, func(a, b idle) int { return a.since.Compare(b.since) })
	return all, nil
}

// quietFor is how long nobody has asked for the revision.
func (s *Scaler) quietFor(rev *serving.Revision, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Sub(s.tracker(client.ObjectKeyFromObject(rev), now).lastRequest)
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

// lacksRoom says that the scheduler has found no node for the pod.
func lacksRoom(pod *corev1.Pod) bool {
	c := kube.PodCondition(pod, corev1.PodScheduled)
	return pod.DeletionTimestamp == nil && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
}

// roomFor are the fewest idle revisions whose end makes room for the pod on a
// node that it may run on; none where nothing would help.
func (s *Scaler) roomFor(ctx context.Context, pod *corev1.Pod, all []idle) ([]idle, error) {
	var best []idle
	nodes := nodesOf(all)
	for _, name := range nodes[:min(len(nodes), maxNodes)] {
		var node corev1.Node
		if err := s.Client.Get(ctx, types.NamespacedName{Name: name}, &node); err != nil {
			if client.IgnoreNotFound(err) == nil {
				continue
			}
			return nil, fmt.Errorf("read node %s: %w", name, err)
		}
		if !admits(&node, pod) {
			continue
		}
		var there corev1.PodList
		if err := s.Live.List(ctx, &there, client.MatchingFields{"spec.nodeName": name}); err != nil {
			return nil, fmt.Errorf("list pods of node %s: %w", name, err)
		}
		if found := enough(lacking(&node, there.Items, pod), name, all); len(found) > 0 && (best == nil || len(found) < len(best)) {
			best = found
		}
	}
	return best, nil
}

func nodesOf(all []idle) []string {
	var names []string
	for _, i := range all {
		for _, pod := range i.pods {
			if !slices.Contains(names, pod.Spec.NodeName) {
				names = append(names, pod.Spec.NodeName)
			}
		}
	}
	return names
}

// admits says whether the node would take the pod if it had room.
func admits(node *corev1.Node, pod *corev1.Pod) bool {
	if fits, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node); err != nil || !fits {
		return false
	}
	_, repelled := scheduling.FindMatchingUntoleratedTaint(klog.Background(), node.Spec.Taints, pod.Spec.Tolerations,
		func(t *corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule }, false)
	return !repelled && !node.Spec.Unschedulable
}

// lacking is what the node has too little of for the pod.
func lacking(node *corev1.Node, there []corev1.Pod, pod *corev1.Pod) corev1.ResourceList {
	lacks := asks(pod)
	for name, want := range lacks {
		have := node.Status.Allocatable[name]
		want.Sub(have)
		lacks[name] = want
	}
	for i := range there {
		if phase := there[i].Status.Phase; phase == corev1.PodSucceeded || phase == corev1.PodFailed {
			continue
		}
		taken := asks(&there[i])
		for name, want := range lacks {
			want.Add(taken[name])
			lacks[name] = want
		}
	}
	for name, want := range lacks {
		if want.Sign() <= 0 {
			delete(lacks, name)
		}
	}
	return lacks
}

// asks is what a pod takes of its node: its requests, with overhead, and a place.
func asks(pod *corev1.Pod) corev1.ResourceList {
	all := requests.PodRequests(pod, requests.PodResourcesOptions{})
	all[corev1.ResourcePods] = one
	return all
}

// enough are the revisions, the longest idle first, that together take at
// least what is lacking of the node; none where all are too little, or nothing
// is lacking.
func enough(lacks corev1.ResourceList, node string, all []idle) (found []idle) {
	lacks = lacks.DeepCopy()
	for _, i := range all {
		if len(lacks) == 0 {
			break
		}
		if i.give(node, lacks) {
			found = append(found, i)
		}
	}
	if len(lacks) > 0 {
		return nil
	}
	return found
}

// give takes what the revision has of the node off what is lacking, and says
// whether that is anything.
func (i idle) give(node string, lacks corev1.ResourceList) (helps bool) {
	for p := range i.pods {
		if i.pods[p].Spec.NodeName != node {
			continue
		}
		for name, has := range asks(&i.pods[p]) {
			want, lacking := lacks[name]
			if !lacking || has.IsZero() {
				continue
			}
			helps = true
			if want.Sub(has); want.Sign() <= 0 {
				delete(lacks, name)
			} else {
				lacks[name] = want
			}
		}
	}
	return helps
}

// giveUp scales revisions to zero for the sake of a pod.
func (s *Scaler) giveUp(ctx context.Context, pod *corev1.Pod, given []idle) error {
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
			s.reclaimed = append(s.reclaimed, p.UID)
		}
	}
	return failed
}
