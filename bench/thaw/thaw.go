// Package thaw measures what a request waits for when its instance is frozen:
// the same request to the same instance, frozen and warm, in every class.
package thaw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
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
	frozen, warm := map[string][]time.Duration{}, map[string][]time.Duration{}
	err = measure.Interleave(classes, rounds, func(class string, record bool) error {
		f, w, err := once(ctx, p, class)
		if err == nil && record {
			frozen[class], warm[class] = append(frozen[class], f), append(warm[class], w)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, class := range classes {
		results = append(results, measure.Of(suite, class, "warm request", "ms", measure.Milliseconds(warm[class])...))
	}
	measure.Compare(results, peer)
	for _, class := range classes {
		added := make([]time.Duration, len(frozen[class]))
		for i := range added {
			added[i] = frozen[class][i] - warm[class][i]
		}
		r := measure.Of(suite, class, "added when frozen", "ms", measure.Milliseconds(added)...)
		r.Bar = bar
		results = append(results, r)
	}
	return results, nil
}

// once waits until a class's instance is frozen, and makes the request that
// thaws it and some more.
func once(ctx context.Context, p *platform.Platform, class string) (frozen, warm time.Duration, err error) {
	time.Sleep(settled)
	if err := awaitFrozen(ctx, p, class); err != nil {
		return 0, 0, err
	}
	if frozen, err = request(ctx, p, class); err != nil {
		return 0, 0, err
	}
	var times []time.Duration
	for range warmUp {
		took, err := request(ctx, p, class)
		if err != nil {
			return 0, 0, err
		}
		times = append(times, took)
	}
	median := measure.Quantile(measure.Milliseconds(times), 0.5)
	return frozen, time.Duration(median * float64(time.Millisecond)), nil
}

// gateway keeps its connections to the gateway: that of the first request is
// not what is measured.
var gateway = &http.Client{}

func request(ctx context.Context, p *platform.Platform, class string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d", p.State.HTTPPort), nil)
	if err != nil {
		return 0, err
	}
	req.Host = name(class) + "." + namespace + ".localhost"
	began := time.Now()
	resp, err := gateway.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	took := time.Since(began)
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("service %s answered %s", name(class), resp.Status)
	}
	return took, errors.Join(err, resp.Body.Close())
}

func awaitFrozen(ctx context.Context, p *platform.Platform, class string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		pods, err := p.Cluster.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: serving.ServiceLabel + "=" + name(class)})
		if err == nil && len(pods.Items) == 1 && isFrozen(&pods.Items[0]) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the instance of %s is not frozen within %v; see: redoubt logs node --name %s", name(class), patience, p.Inst.Name)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func isFrozen(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == serving.PodFrozen {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
