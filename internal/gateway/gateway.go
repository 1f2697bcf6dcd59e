// Package gateway is the way into every service: it takes requests for all of
// a cluster's revisions and carries each to an instance, without anything of
// its own inside the sandbox.
//
// Run wires the parts: watch follows the cluster and fills table (which
// revision is a request for?) and instance (which pods are ready?); balance
// queues and divides; front carries, or proxy where a side speaks HTTP/2;
// report tells the autoscaler.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"redoubt.dev/redoubt/internal/gateway/accesslog"
	"redoubt.dev/redoubt/internal/gateway/async"
	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/clients"
	"redoubt.dev/redoubt/internal/gateway/front"
	"redoubt.dev/redoubt/internal/gateway/guard"
	"redoubt.dev/redoubt/internal/gateway/holds"
	"redoubt.dev/redoubt/internal/gateway/identity"
	"redoubt.dev/redoubt/internal/gateway/instance"
	"redoubt.dev/redoubt/internal/gateway/proxy"
	"redoubt.dev/redoubt/internal/gateway/quota"
	"redoubt.dev/redoubt/internal/gateway/report"
	"redoubt.dev/redoubt/internal/gateway/secret"
	"redoubt.dev/redoubt/internal/gateway/table"
	"redoubt.dev/redoubt/internal/gateway/trace"
	"redoubt.dev/redoubt/internal/gateway/watch"
	"redoubt.dev/redoubt/internal/hold"
)

// lastSpans is how long the collector may take for the last spans.
const lastSpans = 2 * time.Second

// lastHandOver is how long a request that came before draining began may take to
// reach the server that its connection is handed to.
const lastHandOver = time.Second

// restPeriod is how often instances are looked at that nobody may need.
const restPeriod = time.Second

// Options are the gateway role's.
type Options struct {
	// Name tells this gateway from others in its reports.
	Name string
	// Listen are the addresses, host:port, that requests inside the cluster
	// come to; Admin is where health, metrics and load are served.
	Listen []string
	Admin  string
	// Trace says where traces of requests go.
	Trace trace.Options
	// Public are open listeners for requests from outside the cluster: routes
	// that are visible inside only do not exist there. Run closes them.
	Public []net.Listener
	// Certificate is shown to clients that speak TLS, on any of the listeners,
	// and Authority makes one for the names that it is not valid for. Both may
	// be absent: then there are those of triggers alone.
	Certificate, Authority identity.Files
	// Domain ends public names, ClusterDomain those inside the cluster.
	Domain, ClusterDomain string
	// PodRange is where pods have their addresses from. With it, a tenant's pods
	// find the tenant's own services and no others; without it all are found.
	PodRange netip.Prefix
	// HoldsPort is where nodes are told which pods are used; 0 means that no
	// pod is ever frozen.
	HoldsPort int
	// AccessLog gets a line for every request; nil gets none.
	AccessLog io.Writer
	// Drain is how long open requests may take after ctx has ended.
	Drain time.Duration

	// secrets reads those that triggers name, and invocations keeps what
	// clients do not wait for; Run sets both.
	secrets     guard.Reader
	invocations async.Store
}

// Run serves until ctx ends, and then until open requests are done.
func Run(ctx context.Context, cfg *rest.Config, opts Options) error {
	leaveProcessors()
	watcher, err := watch.New(cfg, opts.PodRange.IsValid())
	if err != nil {
		return err
	}
	if opts.secrets, err = secret.NewReader(cfg); err != nil {
		return fmt.Errorf("set up the reading of secrets: %w", err)
	}
	if opts.invocations, err = async.NewStore(cfg); err != nil {
		return fmt.Errorf("set up the storing of requests: %w", err)
	}
	listeners, err := listen(opts)
	if err != nil {
		return err
	}
	admin, err := net.Listen("tcp", opts.Admin)
	if err != nil {
		return fmt.Errorf("listen for administration: %w", err)
	}
	g, err := newGateway(cfg, opts)
	if err != nil {
		return err
	}
	defer g.close()
	return g.run(ctx, watcher, listeners, admin)
}

type gateway struct {
	opts    Options
	table   *table.Table
	clients *clients.Book
	quotas  *quota.Book
	tracker *instance.Tracker
	report  *report.Reporter
	log     *accesslog.Log
	tracer  *trace.Tracer
	handler *proxy.Handler
	nodes   *holds.Nodes // nil where no pod is ever frozen
	tls     *tls.Config
	secrets *secret.Keeper

	known    chan struct{} // closed once the cluster as it was at the start is
	draining atomic.Bool
}

func newGateway(cfg *rest.Config, opts Options) (*gateway, error) {
	g := &gateway{opts: opts, report: &report.Reporter{Gateway: opts.Name}, known: make(chan struct{})}
	g.clients, g.quotas = clients.New(opts.PodRange), quota.New()
	g.table = table.New(opts.Domain, opts.ClusterDomain, g.report.Waits, g.clients.Admits, g.quotas.Of)
	g.report.Revisions = g.table.Revisions
	keeper, err := g.keeper(cfg)
	if err != nil {
		return nil, err
	}
	g.tracker = instance.NewTracker(g.table.SetRevision, keeper)
	if opts.AccessLog != nil {
		g.log = accesslog.New(opts.AccessLog)
	}
	if g.tracer, err = trace.New(context.Background(), opts.Trace); err != nil {
		return nil, err
	}
	g.handler = proxy.New(g.table, g.log, g.tracer, async.New(opts.invocations))
	g.secrets = secret.New(opts.secrets)
	g.tls, err = identity.Configuration(identity.Options{Own: g.own, Given: opts.Certificate, Authority: opts.Authority, Known: g.leads})
	return g, err
}

// keeper is nil where no pod is ever frozen.
func (g *gateway) keeper(cfg *rest.Config) (balance.Keeper, error) {
	if g.opts.HoldsPort == 0 {
		return nil, nil
	}
	dialer, err := hold.NewDialer(cfg)
	if errors.Is(err, hold.ErrNoCertificate) {
		slog.Warn("pods are never frozen", "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("set up freezing: %w", err)
	}
	g.nodes = holds.New(dialer.Dial, g.opts.HoldsPort)
	return g.nodes, nil
}

// rest releases idle instances until ctx ends.
func (g *gateway) rest(ctx context.Context) error {
	ticker := time.NewTicker(restPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			g.table.Revisions(func(r *balance.Revision) { r.Rest(now) })
		}
	}
}

func (g *gateway) close() {
	g.tracker.Close()
	if g.nodes != nil {
		g.nodes.Close()
	}
	g.log.Close()
	last, cancel := context.WithTimeout(context.Background(), lastSpans)
	defer cancel()
	g.tracer.Close(last)
}

// run takes requests once the cluster is known: until then every name would be
// an unknown one, while connections can wait in the listeners. It keeps watching
// and the admin address alive while requests drain: who waits for an instance
// still gets one.
func (g *gateway) run(ctx context.Context, watcher *watch.Watcher, listeners []listener, admin net.Listener) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, failed := errgroup.WithContext(background)
	group.Go(func() error {
		return watcher.Run(failed, sink{g.table, g.clients, g.quotas, g.tracker, g.secrets}, func() { close(g.known) })
	})
	group.Go(func() error { return g.serveAdmin(failed, admin) })
	group.Go(func() error { return g.rest(failed) })
	group.Go(func() error { return g.secrets.Run(failed) })
	group.Go(func() error {
		defer stop()
		serving, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(failed, cancel)()
		select {
		case <-g.known:
		case <-serving.Done():
		}
		return g.serve(serving, listeners)
	})
	return group.Wait()
}

// serve takes requests until ctx ends, and drains.
func (g *gateway) serve(ctx context.Context, listeners []listener) error {
	handed := newHandedOver()
	second := newHTTP2Server(g.handler)
	secured := front.NewServer(front.Options{Table: g.table, Log: g.log, Tracer: g.tracer, Other: handed.give("https"), Scheme: "https"})
	defer secured.Close()
	first := front.NewServer(front.Options{
		Table: g.table, Log: g.log, Tracer: g.tracer, Other: handed.give("http"), Secure: g.agree(ctx, secured.ServeConn), Scheme: "http",
	})
	defer first.Close()
	ended := make(chan error, len(listeners)+1)
	for _, l := range listeners {
		go func() { ended <- first.Serve(l, l.public) }()
	}
	go func() { ended <- second.Serve(handed) }()
	var failed error
	select {
	case err := <-ended:
		failed = fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	g.draining.Store(true)
	for _, l := range listeners {
		_ = l.Close()
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.opts.Drain)
	defer cancel()
	var late error
	if err := drainAll(drain, first, secured, second); err != nil {
		late = errors.Join(fmt.Errorf("requests were still open after %v: %w", g.opts.Drain, err), second.Close())
	}
	return errors.Join(failed, late)
}

// drainAll lets the open requests of all servers end. Each server is told at
// the beginning, so that clients do not send more over connections that will be
// cut when another one's requests took all the time. It is waited for in the
// order in which they hand connections over.
func drainAll(ctx context.Context, first, secured *front.Server, second *http.Server) error {
	secured.LastCall()
	drained, shut := make(chan struct{}), make(chan error, 1)
	go func() {
		select {
		case <-drained:
		case <-time.After(lastHandOver):
		}
		shut <- second.Shutdown(ctx)
	}()
	err := errors.Join(first.Drain(ctx), secured.Drain(ctx))
	close(drained)
	return errors.Join(err, <-shut)
}
