package autoscale

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	requests "k8s.io/component-helpers/resource"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// one is a pod's place.
var one = resource.MustParse("1")

// roomFor are the fewest frozen instances that lend enough for the pod on a node
// that it may run on, and the fewest idle revisions whose end makes room for it;
// none where nothing would help.
func (s *Scaler) roomFor(ctx context.Context, pod *corev1.Pod, lenders []lender, all []idle) (lent []lender, given []idle, err error) {
	nodes := nodesOf(lenders, all)
	for _, name := range nodes[:min(len(nodes), maxNodes)] {
		var node corev1.Node
		if err := s.Client.Get(ctx, types.NamespacedName{Name: name}, &node); err != nil {
			if client.IgnoreNotFound(err) == nil {
				continue
			}
			return nil, nil, fmt.Errorf("read node %s: %w", name, err)
		}
		if !admits(&node, pod) {
			continue
		}
		var there corev1.PodList
		if err := s.Live.List(ctx, &there, client.MatchingFields{"spec.nodeName": name}); err != nil {
			return nil, nil, fmt.Errorf("list pods of node %s: %w", name, err)
		}
		lacks := lacking(&node, there.Items, pod)
		lent, given = fewer(lent, enough(lacks, name, lenders)), fewer(given, enough(lacks, name, all))
	}
	return lent, given, nil
}

// fewer is the shorter of the two that is not empty.
func fewer[G giver](a, b []G) []G {
	if len(a) == 0 || len(b) > 0 && len(b) < len(a) {
		return b
	}
	return a
}

func nodesOf(lenders []lender, all []idle) []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, l := range lenders {
		add(l.pod.Spec.NodeName)
	}
	for _, i := range all {
		for _, pod := range i.pods {
			add(pod.Spec.NodeName)
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

// asks is what a pod takes of its node, as the scheduler counts it: its requests,
// those that the node has not let go of yet among them, with overhead, and a place.
func asks(pod *corev1.Pod) corev1.ResourceList {
	// The scheduler counts what a node says of a whole pod, which has the pod's
	// overhead in it, and the overhead once more (Kubernetes 1.37).
	all := requests.PodRequests(pod, requests.PodResourcesOptions{UseStatusResources: true, InPlacePodLevelResourcesVerticalScalingEnabled: true})
	all[corev1.ResourcePods] = one
	return all
}

// giver is what can make room.
type giver interface {
	// on is what it would give of the node.
	on(node string) corev1.ResourceList
}

// on is what the revision's instances take of the node.
func (i idle) on(node string) corev1.ResourceList {
	sum := corev1.ResourceList{}
	for p := range i.pods {
		if i.pods[p].Spec.NodeName != node {
			continue
		}
		for name, has := range asks(&i.pods[p]) {
			has.Add(sum[name])
			sum[name] = has
		}
	}
	return sum
}

// enough are the givers, the longest idle first, that together give at least
// what is lacking of the node; none where all are too little, or nothing is
// lacking.
func enough[G giver](lacks corev1.ResourceList, node string, all []G) (found []G) {
	lacks = lacks.DeepCopy()
	for _, g := range all {
		if len(lacks) == 0 {
			break
		}
		if give(g.on(node), lacks) {
			found = append(found, g)
		}
	}
	if len(lacks) > 0 {
		return nil
	}
	return found
}

// give takes what there is off what is lacking, and says whether that is anything.
func give(there, lacks corev1.ResourceList) (helps bool) {
	for name, has := range there {
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
	return helps
}
