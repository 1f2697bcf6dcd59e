package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/meter"
	"redoubt.dev/redoubt/internal/load"
)

// serveAdmin answers until ctx ends.
func (g *gateway) serveAdmin(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           g.adminHandler(),
		ReadHeaderTimeout: headerTimeout,
		// Reports of load never end by themselves.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() {
		brief, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = server.Shutdown(brief)
	})
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (g *gateway) adminHandler() http.Handler {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		meter.NewCollector(g.meters),
	)
	mux := http.NewServeMux()
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, "") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, g.unready()) })
	mux.Handle("/metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.Handle(load.Path, g.report)
	return mux
}

// unready says why the gateway should get no new requests, nothing when it
// should.
func (g *gateway) unready() string {
	if g.draining.Load() {
		return "draining: open requests are finished, new ones are not taken"
	}
	select {
	case <-g.known:
		return ""
	default:
		return "routes, revisions and pods are not known yet"
	}
}

func (g *gateway) meters(yield func(*meter.Revision, meter.Gauges)) {
	now := time.Now()
	g.table.Revisions(func(r *balance.Revision) {
		l := r.Load(now)
		yield(r.Meter, meter.Gauges{Active: l.Active, Waiting: l.Waiting, Ready: l.Ready})
	})
}

func answer(w http.ResponseWriter, problem string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if problem == "" {
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(problem + "\n"))
}
