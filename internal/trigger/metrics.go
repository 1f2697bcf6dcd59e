package trigger

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"redoubt.dev/redoubt/internal/trigger/jetstream"
)

var labels = []string{"namespace", "trigger", "function"}

var (
	backlog = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "redoubt_trigger_backlog", Help: "Messages that a function has not answered with success yet.",
	}, labels)
	dead = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "redoubt_trigger_dead_total", Help: "Messages that were given up and went to the dead-letter subject.",
	}, labels)
)

func init() { metrics.Registry.MustRegister(backlog, dead) }

func setBacklog(s jetstream.Subscription, n uint64) {
	backlog.WithLabelValues(s.Namespace, s.Trigger, s.Function).Set(float64(n))
}

func forgetBacklog(s jetstream.Subscription) {
	backlog.DeleteLabelValues(s.Namespace, s.Trigger, s.Function)
}

func countDead(s jetstream.Subscription) {
	dead.WithLabelValues(s.Namespace, s.Trigger, s.Function).Inc()
}
