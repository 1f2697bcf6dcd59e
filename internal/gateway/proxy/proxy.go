// Package proxy carries requests from the gateway to instances with net/http:
// those that come or go over HTTP/2. It does so in the order of package
// balance: find a revision, enter, exchange, leave.
package proxy

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"redoubt.dev/redoubt/internal/gateway/accesslog"
	"redoubt.dev/redoubt/internal/gateway/async"
	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/forward"
	"redoubt.dev/redoubt/internal/gateway/guard"
	"redoubt.dev/redoubt/internal/gateway/http1"
	"redoubt.dev/redoubt/internal/gateway/table"
	"redoubt.dev/redoubt/internal/gateway/trace"
)

// Handler answers every request that the gateway gets.
type Handler struct {
	table   *table.Table
	log     *accesslog.Log
	tracer  *trace.Tracer
	async   *async.Handler
	reverse *httputil.ReverseProxy
}

// New returns a handler that routes by t and writes to accessLog, which may be
// nil, as may the tracer. What clients do not want to wait for goes to later.
func New(t *table.Table, accessLog *accesslog.Log, tracer *trace.Tracer, later *async.Handler) *Handler {
	h := &Handler{table: t, log: accessLog, tracer: tracer, async: later}
	h.reverse = &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      newTransport(),
		ModifyResponse: adjust,
		FlushInterval:  -1, // what an instance has sent is the client's at once
		ErrorHandler:   answerError,
		ErrorLog:       log.New(io.Discard, "", 0), // the access log says it
	}
	return h
}

type contextKey struct{}

type clientKey struct{}

// client is what is known of whom a request comes from.
type client struct {
	public bool
	scheme string
}

// WithClient marks the requests of a connection: whether it comes from outside
// the cluster, and in what scheme, http or https.
func WithClient(ctx context.Context, public bool, scheme string) context.Context {
	return context.WithValue(ctx, clientKey{}, client{public, scheme})
}

func clientOf(req *http.Request) client {
	c, _ := req.Context().Value(clientKey{}).(client)
	return c
}

// exchange is one request on its way.
type exchange struct {
	start    time.Time
	peer     netip.Addr
	proto    string
	revision *balance.Revision // nil when the request is for none
	guard    *guard.Guard      // nil: none
	cut      int               // how much of the path the instance does not see
	instance *balance.Instance // nil while it has none
	in       *counter
	out      *recorder
	watch    *watchdog
	problem  string
	trace    string
	span     *trace.Span // nil: not recorded
}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(contextKey{}).(*exchange) }

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	out := &recorder{ResponseWriter: w}
	x := &exchange{start: time.Now(), peer: peerOf(req), proto: clientOf(req).scheme, out: out}
	in := &counter{body: req.Body}
	x.in = in
	defer h.finish(x, req, out, in) // also when the copy of a body panics
	found, err := h.find(req)
	if err == nil {
		if x.guard, x.cut = found.Guard, found.Cut; x.guard != nil {
			if refusal := x.guard.Judge(judged(req)); refusal != nil {
				err = refusal
			}
		}
	}
	path, later := req.URL.EscapedPath(), false
	if err == nil {
		later = found.Async.Name != "" && async.Wants(req.Method, path[x.cut:], req.Header.Values("Prefer"))
		admit := found.Revision.Admit
		if later {
			admit = found.Revision.AdmitLater
		}
		if refusal := admit(x.start); refusal != nil {
			err = refusal
		}
	}
	if err != nil {
		answerError(out, req.WithContext(context.WithValue(req.Context(), contextKey{}, x)), err)
		return
	}
	if later {
		if x.guard.CORS() {
			out.Header().Set(guard.AllowOrigin, "*")
		}
		req.Body = in
		h.async.Serve(out, req, found.Async, path[:x.cut])
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(req.Context(), contextKey{}, x))
	defer cancel(nil)
	x.watch = newWatchdog(cancel)
	defer x.watch.stop()
	in.watch, out.watch = x.watch, x.watch
	x.revision = found.Revision
	x.span = h.tracer.Begin(req.Header.Get(forward.Traceparent), x.start)
	var wait balance.Wait
	x.instance, wait, err = x.revision.Enter(x.start, req.Context().Done())
	x.span.Waited(string(wait), x.start)
	if err == nil {
		err = x.awake(req.Context())
	}
	req = req.WithContext(ctx)
	if err != nil {
		answerError(out, req, err)
		return
	}
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = in
		// An instance may answer before it has read everything; HTTP/2 always
		// lets it, and says that there is nothing to enable.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	h.reverse.ServeHTTP(out, req)
}

// find says where a request goes that can be read in one way.
func (h *Handler) find(req *http.Request) (table.Found, error) {
	var fault *http1.Error
	if errors.As(http1.CheckForeign(req), &fault) {
		return table.Found{}, &balance.Refusal{Status: fault.Status, Message: fault.Message}
	}
	return h.table.Find(query(req))
}

// awake waits until the instance runs.
func (x *exchange) awake(ctx context.Context) error {
	if !x.instance.Thawing() {
		return nil
	}
	begin := time.Now()
	err := x.revision.Awake(x.instance, begin, ctx.Done())
	x.span.Waited(string(balance.Thaw), begin)
	return err
}

// finish gives the instance back, counts and logs.
func (h *Handler) finish(x *exchange, req *http.Request, out *recorder, in *counter) {
	now := time.Now()
	status := out.status
	if status == 0 {
		status = balance.StatusClientGone
	}
	entry := accesslog.Entry{
		Start: x.start, Took: now.Sub(x.start), Peer: x.peer.String(), Protocol: req.Proto,
		Method: req.Method, Host: req.Host, Path: req.URL.RequestURI(), Status: status,
		Received: in.n.Load(), Sent: out.n.Load(), Trace: x.trace, Problem: x.problem,
	}
	if x.revision != nil {
		x.revision.Leave(now, x.instance)
		x.revision.Meter.Request(status, entry.Took)
		entry.Namespace, entry.Revision = x.revision.Name.Namespace, x.revision.Name.Name
		x.span.End(trace.Outcome{
			Method: req.Method, Host: req.Host, Path: req.URL.EscapedPath(),
			Protocol: strings.TrimPrefix(req.Proto, "HTTP/"), Peer: entry.Peer, Status: status,
			Revision: x.revision.Name, Problem: x.problem,
		})
	}
	if x.instance != nil {
		entry.Instance = x.instance.Name
	}
	h.log.Write(&entry)
}

func query(req *http.Request) table.Query {
	return table.Query{Host: table.HostName(req.Host), Path: []byte(req.URL.EscapedPath()), Tag: req.Header.Get(table.TagHeader), Public: clientOf(req).public, Client: peerOf(req)}
}

func peerOf(req *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(req.RemoteAddr)
	return peer.Addr().Unmap()
}

// rewrite adds the gateway's headers. The client's own share of them stays
// where it is a list, so that a proxy before the gateway is not lost.
func rewrite(r *httputil.ProxyRequest) {
	x := exchangeOf(r.In.Context())
	r.Out.URL.Scheme, r.Out.URL.Host = "http", "instance" // the transport knows the address
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Host = r.In.Host
	cutPath(r.Out.URL, x.cut)
	if x.revision.Settings().HTTP2 || !http1.MayUpgrade([]byte(r.Out.Header.Get("Upgrade"))) {
		r.Out.Header.Del("Connection")
		r.Out.Header.Del("Upgrade")
	}
	if x.guard.TakesPassword() {
		r.Out.Header.Del("Authorization")
	}
	r.Out.Trailer = r.In.Trailer // which is filled when the body has been read
	header, before := r.Out.Header, r.In.Header
	list := func(name, own string) {
		header.Set(name, strings.Join(append(append([]string(nil), before.Values(name)...), own), ", "))
	}
	list(forward.Forwarded, string(forward.AppendForwarded(nil, x.peer, r.In.Host, x.proto)))
	list(forward.For, x.peer.String())
	header.Set(forward.Proto, x.proto)
	header.Set(forward.Host, r.In.Host)
	if x.span != nil {
		header.Set(forward.Traceparent, x.span.Ask(x.instance.Name))
	} else if header.Get(forward.Traceparent) == "" {
		header.Set(forward.Traceparent, string(forward.AppendTraceparent(nil)))
	}
	x.trace = header.Get(forward.Traceparent)
	if _, ok := before["User-Agent"]; !ok {
		header["User-Agent"] = nil // else net/http names itself
	}
}

// adjust changes an answer's head for the client: it removes a length that
// HTTP/2 has beside trailers, because HTTP/1.1 has trailers only without one,
// and says whose pages may read it.
func adjust(resp *http.Response) error {
	x := exchangeOf(resp.Request.Context())
	x.span.Answered()
	if body, ok := resp.Body.(io.ReadWriteCloser); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body, x.out.status = &joined{body, x.in, x.out}, resp.StatusCode
	}
	x.out.bodyless = resp.ContentLength == 0
	if len(resp.Trailer) > 0 {
		resp.Header.Del("Content-Length")
	}
	if x.guard.CORS() {
		resp.Header.Set(guard.AllowOrigin, "*")
	}
	return nil
}

// answerError answers for an instance that could not.
func answerError(w http.ResponseWriter, req *http.Request, err error) {
	x := exchangeOf(req.Context())
	refusal := refusalOf(req.Context(), err)
	x.problem = refusal.Message
	if refusal.Status == balance.StatusClientGone {
		return
	}
	if refusal.RetryAfter() {
		w.Header().Set("Retry-After", "1")
	}
	for _, h := range refusal.Header {
		w.Header().Set(h[0], h[1])
	}
	if x.guard.CORS() {
		w.Header().Set(guard.AllowOrigin, "*")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(refusal.Message)+1))
	w.WriteHeader(refusal.Status)
	_, _ = io.WriteString(w, refusal.Message+"\n")
}

func refusalOf(ctx context.Context, err error) *balance.Refusal {
	var refusal *balance.Refusal
	if errors.As(err, &refusal) || errors.As(context.Cause(ctx), &refusal) {
		return refusal
	}
	if ctx.Err() != nil {
		return &balance.Refusal{Status: balance.StatusClientGone, Message: "the client left"}
	}
	return &balance.Refusal{Status: http.StatusBadGateway, Message: "the instance gave no valid answer: " + err.Error()}
}
