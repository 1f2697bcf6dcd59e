package autoscale

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// Metric is what a revision is scaled on.
type Metric string

const (
	Concurrency Metric = "concurrency"
	RPS         Metric = "rps"
	// CPUUse is processor time in percent of what an instance asks for, MemoryUse
	// is in MiB; both are the metrics API's.
	CPUUse    Metric = "cpu"
	MemoryUse Metric = "memory"
)

// Resource says that m is measured by the cluster, not by the gateways.
func (m Metric) Resource() bool { return m == CPUUse || m == MemoryUse }

// Settings steer the scale of one revision. The defaults are Knative's
// (config-autoscaler).
type Settings struct {
	Metric Metric
	// Target is the wanted value of the metric per instance, utilisation
	// already taken off.
	Target float64
	// Min and Max bound the scale; Max 0 is no bound.
	Min, Max int32
	// Initial is the scale of a new revision, which proves that it runs.
	Initial int32
	// Activation is the least scale above zero.
	Activation int32
	// Stable and Panic are the windows that the metric is averaged over.
	Stable, Panic time.Duration
	// Weighted says that later seconds of a window count more than earlier ones.
	Weighted bool
	// PanicThreshold is how many times too few instances start a panic.
	PanicThreshold float64
	// ScaleDownDelay is how long a lower scale must have been right.
	ScaleDownDelay time.Duration
	// Retention is how long the last instance stays after the stable window.
	Retention time.Duration
}

const (
	defaultConcurrency = 100
	defaultRPS         = 200
	defaultUtilization = 70
	defaultStable      = 60 * time.Second
	// defaultCPU is in percent, and defaultCalm how long a lower scale must
	// have been right; both are those of the horizontal pod autoscaler.
	defaultCPU  = 80
	defaultCalm = 5 * time.Minute
	// maxScaleUp and maxScaleDown bound one decision, as factors.
	maxScaleUp   = 1000
	maxScaleDown = 2
	// linear and weighted are the ways to average over a window.
	linear, weighted = "linear", "weighted-exponential"
)

// SettingsOf reads a revision's annotations. The error names the annotation.
func SettingsOf(rev *serving.Revision) (Settings, error) {
	r := reader{annotations: rev.Annotations}
	s := Settings{
		Metric:         r.metric(),
		Min:            int32(r.number(serving.MinScaleAnnotation, 0, 0, 1000)),
		Max:            int32(r.number(serving.MaxScaleAnnotation, 0, 0, 999_999_999)),
		Initial:        int32(r.number(serving.InitialScaleAnnotation, 1, 0, 1000)),
		Activation:     int32(r.number(serving.ActivationScaleAnnotation, 1, 1, 1000)),
		Stable:         r.duration(serving.WindowAnnotation, defaultStable, 6*time.Second, time.Hour),
		PanicThreshold: r.number(serving.PanicThresholdAnnotation, 200, 110, 1000) / 100,
		Weighted:       r.oneOf(serving.AggregationAnnotation, linear, weighted) == weighted,
		ScaleDownDelay: r.duration(serving.ScaleDownDelayAnnotation, 0, 0, time.Hour),
		Retention:      r.duration(serving.RetentionAnnotation, retention(rev), 0, time.Hour),
	}
	panicShare := r.number(serving.PanicWindowAnnotation, 10, 1, 100) / 100
	s.Panic = max(time.Duration(float64(s.Stable)*panicShare), time.Second)
	s.Target = r.target(s.Metric, rev.Spec.ContainerConcurrency)
	if s.Metric.Resource() {
		s.Min = max(s.Min, 1) // what is not there takes nothing, and would never be asked back
		s.ScaleDownDelay = max(s.ScaleDownDelay, r.duration(serving.WindowAnnotation, defaultCalm, 6*time.Second, time.Hour))
	}
	if s.Max > 0 && s.Max < s.Min {
		r.fail(serving.MaxScaleAnnotation, "must not be less than "+serving.MinScaleAnnotation)
	}
	s.Initial = max(s.Initial, s.Min)
	if s.Max > 0 {
		s.Initial = min(s.Initial, s.Max)
	}
	return s, r.err
}

// retention is long for an instance that costs no processor time while it is
// idle, and none, as in Knative, for others.
func retention(rev *serving.Revision) time.Duration {
	if after, err := rev.FreezeAfter(); after > 0 && err == nil {
		return serving.FrozenRetention
	}
	return 0
}

// reader keeps the first error, so that settings read like a list.
type reader struct {
	annotations map[string]string
	err         error
}

// get reads an annotation under its name or, as Knative did once, the name in
// camel case: min-scale is minScale.
func (r *reader) get(name string) (string, bool) {
	if value, ok := r.annotations[name]; ok {
		return value, true
	}
	value, ok := r.annotations[camelCase(name)]
	return value, ok
}

func camelCase(name string) string {
	words := strings.Split(name, "-")
	for i := 1; i < len(words); i++ {
		words[i] = strings.ToUpper(words[i][:1]) + words[i][1:]
	}
	return strings.Join(words, "")
}

func (r *reader) fail(name, why string) {
	if r.err == nil {
		value, _ := r.get(name)
		r.err = fmt.Errorf("metadata.annotations[%s]: %q %s", name, value, why)
	}
}

// metric is the one that the class of autoscaler is given, or its first.
func (r *reader) metric() Metric {
	if r.oneOf(serving.ClassAnnotation, serving.ClassKPA, serving.ClassHPA) == serving.ClassHPA {
		return Metric(r.oneOf(serving.MetricAnnotation, string(CPUUse), string(MemoryUse)))
	}
	return Metric(r.oneOf(serving.MetricAnnotation, string(Concurrency), string(RPS)))
}

// oneOf reads one of two words, of which the first is the default.
func (r *reader) oneOf(name, fallback, other string) string {
	value, ok := r.get(name)
	if !ok || value == fallback || value == other {
		return cmp.Or(value, fallback)
	}
	r.fail(name, "must be "+fallback+" or "+other)
	return fallback
}

func (r *reader) number(name string, fallback, low, high float64) float64 {
	value, ok := r.get(name)
	if !ok {
		return fallback
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || n < low || n > high {
		r.fail(name, fmt.Sprintf("must be a number from %g to %g", low, high))
		return fallback
	}
	return n
}

func (r *reader) duration(name string, fallback, low, high time.Duration) time.Duration {
	value, ok := r.get(name)
	if !ok {
		return fallback
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < low || d > high {
		r.fail(name, fmt.Sprintf("must be a duration from %v to %v", low, high))
		return fallback
	}
	return d
}

// target is the total that one instance can take, less the share kept free
// for bursts. Resources have none.
func (r *reader) target(metric Metric, containerConcurrency int64) float64 {
	switch metric {
	case CPUUse:
		return r.number(serving.TargetAnnotation, defaultCPU, 1, 1_000_000)
	case MemoryUse:
		if _, ok := r.get(serving.TargetAnnotation); !ok {
			r.fail(serving.TargetAnnotation, "is needed with the metric memory: how many MiB an instance should take")
		}
		return r.number(serving.TargetAnnotation, 1, 1, 1_000_000)
	}
	total := float64(defaultConcurrency)
	switch {
	case metric == RPS:
		total = defaultRPS
	case containerConcurrency > 0:
		total = float64(containerConcurrency)
	}
	total = r.number(serving.TargetAnnotation, total, 0.01, 1_000_000)
	if metric == Concurrency && containerConcurrency > 0 {
		total = min(total, float64(containerConcurrency))
	}
	utilization := r.number(serving.TargetUtilizationAnnotation, defaultUtilization, 1, 100)
	return max(total*utilization/100, 0.01)
}
