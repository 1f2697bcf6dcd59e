package pool

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/bench/idlepod"
	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/overhead"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/cri"
)

const (
	idleSuite = "idle"
	// calm is how long they have been without a call then.
	calm = 15 * time.Second
	// megabyte is in bytes.
	megabyte = 1e6
)

// idlers is how many functions of a class are weighed; one more comes first, which
// may have to make what they share. Where they take little there are enough to see
// that each of many takes what one does.
func idlers(class string) int {
	if class == idlepod.Plain {
		return 100
	}
	return 4
}

// Idle weighs instances of functions that nobody calls, in every language and
// class: what one more adds to the memory of a node.
func Idle(ctx context.Context, p *platform.Platform) ([]measure.Result, error) {
	results, err := everywhere(ctx, p, func(b *bench, lang language, class string) ([]measure.Result, error) {
		weights, err := b.idle(ctx, lang.runtime, class, lang.source)
		if err != nil {
			return nil, err
		}
		return []measure.Result{measure.Of(idleSuite, class, "memory of an idle function, "+lang.runtime, "MB", weights...)}, nil
	})
	measure.Compare(results, idlepod.Plain)
	return results, err
}

// idle makes functions, weighs their instances in megabytes, and removes them.
func (b *bench) idle(ctx context.Context, language, class, source string) (weights []float64, err error) {
	var made []*kubeless.Function
	defer func() {
		for _, f := range made {
			err = errors.Join(err, b.Delete(context.WithoutCancel(ctx), f))
		}
	}()
	for range idlers(class) + 1 {
		f := newFunction(language, class, source, "")
		f.Spec.Deployment.Spec.Template.Annotations = map[string]string{serving.MinScaleAnnotation: "1"}
		if err := b.Create(ctx, f); err != nil {
			return nil, fmt.Errorf("make function: %w", err)
		}
		made = append(made, f)
		if err := b.await(ctx, "the instance of "+f.Name, func() bool { return b.instance(ctx, f) != nil }); err != nil {
			return nil, err
		}
	}
	time.Sleep(calm)
	for _, f := range made[1:] {
		pod := b.instance(ctx, f)
		if pod == nil {
			return nil, fmt.Errorf("the instance of %s has gone", f.Name)
		}
		weight, err := b.weigh(ctx, pod)
		if err != nil {
			return nil, err
		}
		weights = append(weights, float64(weight)/megabyte)
	}
	return weights, nil
}

// instance is a function's that is ready; nil where there is none.
func (b *bench) instance(ctx context.Context, f *kubeless.Function) *corev1.Pod {
	if b.Get(ctx, client.ObjectKeyFromObject(f), f) != nil || !f.Status.Conditions.IsTrue(serving.Ready) {
		return nil
	}
	return b.ready(ctx, f.Namespace, serving.ServiceLabel+"="+f.Name)
}

// weigh is the memory that a pod, and what runs because of it, adds to a node, in
// bytes.
func (b *bench) weigh(ctx context.Context, pod *corev1.Pod) (int64, error) {
	groups, err := cgroup.New(b.platform.Inst.ID())
	if err != nil {
		return 0, err
	}
	containerd, conn, err := cri.Connect(b.platform.Inst.ContainerdSocket())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	all, err := containerd.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{Filter: &runtime.PodSandboxFilter{
		LabelSelector: map[string]string{"io.kubernetes.pod.uid": string(pod.UID)},
	}})
	if err != nil || len(all.Items) != 1 {
		return 0, fmt.Errorf("find the sandbox of pod %s among %d: %w", pod.Name, len(all.GetItems()), err)
	}
	service := strings.ToLower(string(pod.Status.QOSClass))
	if pod.Status.QOSClass == corev1.PodQOSGuaranteed {
		service = ""
	}
	weight, err := overhead.Weigh(groups, path.Join("kubepods", service, "pod"+string(pod.UID)), all.Items[0].Id)
	return weight.Own, err
}
