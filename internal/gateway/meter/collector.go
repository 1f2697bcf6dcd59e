package meter

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Gauges are what is true of a revision at the moment of the question.
type Gauges struct {
	// Active is the number of requests, Waiting of those without an instance,
	// Ready of instances.
	Active, Waiting, Ready int
}

// Source calls back for every revision.
type Source func(yield func(*Revision, Gauges))

type collector struct{ source Source }

// NewCollector shows the revisions of source to Prometheus. What is kept of a
// revision goes with the revision.
func NewCollector(source Source) prometheus.Collector { return collector{source} }

var (
	labels = []string{"namespace", "revision"}

	requestsDesc  = desc("requests_total", "Requests answered, by class of the status.", "code_class")
	latencyDesc   = desc("request_duration_seconds", "From the request's head to the end of the answer.")
	activeDesc    = desc("requests_active", "Requests in the gateway or in an instance.")
	queueDesc     = desc("queue_depth", "Requests that wait for an instance.")
	readyDesc     = desc("instances_ready", "Instances that take requests.")
	coldStartDesc = desc("cold_start_duration_seconds", "Waits of requests that found no ready instance.")
	thawDesc      = desc("thaw_duration_seconds", "Waits of requests whose instance was frozen.")
	retriesDesc   = desc("retries_total", "Requests sent to another instance because theirs was gone.")
)

func desc(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("redoubt_gateway_"+name, help, append(append([]string(nil), labels...), more...), nil)
}

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requestsDesc, latencyDesc, activeDesc, queueDesc, readyDesc, coldStartDesc, thawDesc, retriesDesc} {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	c.source(func(r *Revision, g Gauges) {
		ns, name := r.name.Namespace, r.name.Name
		gauge := func(d *prometheus.Desc, v int) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), ns, name)
		}
		for class := range r.requests {
			if n := r.requests[class].Load(); n > 0 {
				ch <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(n), ns, name, strconv.Itoa(class+1)+"xx")
			}
		}
		n, sum, bounds := r.latency.read()
		ch <- prometheus.MustNewConstHistogram(latencyDesc, n, sum, bounds, ns, name)
		n, sum, bounds = r.coldStart.read()
		ch <- prometheus.MustNewConstHistogram(coldStartDesc, n, sum, bounds, ns, name)
		n, sum, bounds = r.thaw.read()
		ch <- prometheus.MustNewConstHistogram(thawDesc, n, sum, bounds, ns, name)
		ch <- prometheus.MustNewConstMetric(retriesDesc, prometheus.CounterValue, float64(r.retries.Load()), ns, name)
		gauge(activeDesc, g.Active)
		gauge(queueDesc, g.Waiting)
		gauge(readyDesc, g.Ready)
	})
}
