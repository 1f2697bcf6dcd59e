// Package trace says, as OpenTelemetry's spans, what requests spent their time
// with: waiting for their turn (queue), for a new instance (create) or a frozen
// one (thaw), and in the instance. A nil Tracer and a nil Span do nothing, so
// that a gateway without a collector pays nothing.
package trace

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxText bounds each text of a span, in bytes: most of them are the
	// client's.
	maxText = 1024
	// maxQueue is how many spans wait for the collector; more are dropped.
	maxQueue = 2048
	// exportTimeout bounds one delivery to the collector.
	exportTimeout = 5 * time.Second
)

// Options say where spans go.
type Options struct {
	// Endpoint is the URL of a collector that takes OTLP over HTTP, as
	// http://127.0.0.1:4318; empty is none.
	Endpoint string
	// Share of the traces that is recorded, from 0 to 1. A trace that its client
	// does not record is never.
	Share float64
	// Gateway names this gateway.
	Gateway string
}

// Validate names the option that cannot work, and why.
func (o Options) Validate() error {
	if u, err := url.Parse(o.Endpoint); o.Endpoint != "" && (err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("--trace-endpoint %q is no URL of a collector: give one such as http://127.0.0.1:4318", o.Endpoint)
	}
	if !(o.Share >= 0 && o.Share <= 1) {
		return fmt.Errorf("--trace-share %g is no share: give a number from 0 to 1", o.Share)
	}
	return nil
}

// Tracer makes spans.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// New returns a tracer, nil without an endpoint. The collector need not be
// there: what cannot be delivered is dropped.
func New(ctx context.Context, o Options) (*Tracer, error) {
	if o.Endpoint == "" {
		return nil, nil
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	// The path below a base URL is OTLP's (specification, "OTLP/HTTP Request").
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(strings.TrimSuffix(o.Endpoint, "/")+"/v1/traces"), otlptracehttp.WithTimeout(exportTimeout))
	if err != nil {
		return nil, fmt.Errorf("set up traces: %w", err)
	}
	limits := sdk.NewSpanLimits()
	limits.AttributeValueLengthLimit = maxText
	share := sdk.TraceIDRatioBased(o.Share)
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(exporter, sdk.WithMaxQueueSize(maxQueue), sdk.WithBatchTimeout(time.Second)),
		// What a client claims to record is no reason to record all of it.
		sdk.WithSampler(sdk.ParentBased(share, sdk.WithRemoteParentSampled(share))),
		sdk.WithRawSpanLimits(limits),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "redoubt-gateway"),
			attribute.String("service.instance.id", o.Gateway),
		)),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer("redoubt.dev/redoubt/internal/gateway")}, nil
}

// Close delivers what is left, until ctx ends.
func (t *Tracer) Close(ctx context.Context) {
	if t != nil {
		_ = t.provider.Shutdown(ctx)
	}
}

// Span is one request.
type Span struct {
	tracer trace.Tracer
	ctx    context.Context
	whole  trace.Span
	asked  trace.Span // in the instance; nil until it is asked
	asking context.Context
}

// Begin makes the span of a request that arrived at a time with that value of
// traceparent, perhaps none. It is nil where the trace is not recorded.
func (t *Tracer) Begin(traceparent string, at time.Time) *Span {
	if t == nil {
		return nil
	}
	parent := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent})
	ctx, whole := t.tracer.Start(parent, "request", trace.WithTimestamp(at), trace.WithSpanKind(trace.SpanKindServer))
	if !whole.IsRecording() {
		return nil
	}
	return &Span{tracer: t.tracer, ctx: ctx, whole: whole}
}

// Waited says that the request has waited since a time, and for what. No
// reason is no wait.
func (s *Span) Waited(why string, since time.Time) {
	if s == nil || why == "" {
		return
	}
	_, wait := s.tracer.Start(s.ctx, why, trace.WithTimestamp(since))
	wait.End()
}

// Ask says that the request is sent to an instance, perhaps another one than
// before, and returns the traceparent that it gets.
func (s *Span) Ask(instance string) string {
	s.endAsk("the instance gave no answer")
	s.asking, s.asked = s.tracer.Start(s.ctx, "instance", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("k8s.pod.name", instance)))
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(s.asking, carrier)
	return carrier["traceparent"]
}

// Answered says that the instance's answer has begun.
func (s *Span) Answered() {
	if s != nil && s.asked != nil {
		s.asked.AddEvent("answer begins")
	}
}

// Outcome is how a request ended.
type Outcome struct {
	Method, Host, Path string // without the query, which may hold secrets
	Protocol           string // of the client: 1.1 or 2
	Peer               string
	Status             int
	Revision           types.NamespacedName
	Problem            string // why the gateway answered by itself
}

// End ends the span.
func (s *Span) End(o Outcome) {
	if s == nil {
		return
	}
	s.endAsk(o.Problem)
	s.whole.SetName(o.Method)
	s.whole.SetAttributes(
		attribute.String("http.request.method", o.Method),
		attribute.String("server.address", o.Host),
		attribute.String("url.path", o.Path),
		attribute.String("network.protocol.version", o.Protocol),
		attribute.String("client.address", o.Peer),
		attribute.Int("http.response.status_code", o.Status),
		attribute.String("k8s.namespace.name", o.Revision.Namespace),
		attribute.String("redoubt.revision", o.Revision.Name),
	)
	if o.Status >= http.StatusInternalServerError {
		s.whole.SetStatus(codes.Error, o.Problem)
	}
	s.whole.End()
}

// endAsk ends the part in the instance, with a problem if there was one.
func (s *Span) endAsk(problem string) {
	if s.asked == nil {
		return
	}
	if problem != "" {
		s.asked.SetStatus(codes.Error, problem)
	}
	s.asked.End()
	s.asked = nil
}
