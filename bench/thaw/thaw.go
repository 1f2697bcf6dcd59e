// Package thaw measures what a request waits for when its instance is frozen:
// the same request to the same instance, frozen and warm, in every class. Beside
// it stands an instance that was idle for as long and never frozen: what it
// takes longer than a warm one is not the thaw.
package thaw

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/kube"
)

const (
	suite  = "thaw"
	rounds = 15
	peer   = "runc"
	// bar is how much longer a request to a frozen instance may take than the
	// same warm, in milliseconds.
	bar = 2
	// warmUp is how many warm requests a round makes; the median counts.
	warmUp = 5
	// settled is how long after the last request an instance is frozen for sure,
	// and its condition speaks of that and not of the time before: a second
	// idle, another until that is seen, and one until the condition says so.
	settled = 3500 * time.Millisecond
	// patience is how long an instance may take to be there, or to be frozen.
	patience = time.Minute
)

// Run measures every class.
func Run(ctx context.Context, p *platform.Platform) (results []measure.Result, err error) {
	classes, err := p.Classes(ctx)
	if err != nil {
		return nil, err
	}
	services, err := deploy(ctx, p, classes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, services.remove()) }()
	warm, idle, frozen := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	err = measure.Interleave(classes, rounds, func(class string, record bool) error {
		r, err := once(ctx, p, class)
		if err == nil && record {
			warm[class] = append(warm[class], r.warm)
			idle[class] = append(idle[class], r.idle-r.warm)
			frozen[class] = append(frozen[class], r.frozen-r.warm)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, class := range classes {
		results = append(results, measure.Of(suite, class, "warm request", "ms", warm[class]...))
	}
	measure.Compare(results, peer)
	for _, class := range classes {
		r := measure.Of(suite, class, "added when frozen", "ms", frozen[class]...)
		r.Bar = bar
		results = append(results, measure.Of(suite, class, "added when idle", "ms", idle[class]...), r)
	}
	return results, nil
}

// round is how long requests took, in milliseconds.
type round struct{ frozen, warm, idle float64 }

// once waits until a class's instance is frozen, and makes the request that
// thaws it, some more, and one to the instance that only was idle.
func once(ctx context.Context, p *platform.Platform, class string) (r round, err error) {
	time.Sleep(settled)
	if err := awaitFrozen(ctx, p, name(class)); err != nil {
		return r, err
	}
	if r.idle, err = request(ctx, p, name(class)+awake); err != nil {
		return r, err
	}
	if r.frozen, err = request(ctx, p, name(class)); err != nil {
		return r, err
	}
	var times []float64
	for range warmUp {
		took, err := request(ctx, p, name(class))
		if err != nil {
			return r, err
		}
		times = append(times, took)
	}
	r.warm = measure.Quantile(times, 0.5)
	return r, nil
}

// gateway keeps its connections to the gateway: that of the first request is
// not what is measured.
var gateway = &http.Client{}

func request(ctx context.Context, p *platform.Platform, service string) (milliseconds float64, err error) {
	took, err := p.Request(ctx, gateway, namespace, service)
	return float64(took) / float64(time.Millisecond), err
}

func awaitFrozen(ctx context.Context, p *platform.Platform, service string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		pods, err := p.Cluster.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: serving.ServiceLabel + "=" + service})
		if err == nil && len(pods.Items) == 1 && kube.PodIs(&pods.Items[0], serving.PodFrozen) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the instance of %s is not frozen within %v; see: redoubt logs node --name %s", service, patience, p.Inst.Name)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
