package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"redoubt.dev/redoubt/internal/gateway/upstream"
)

const (
	// dialTimeout is long for a neighbour on the network, and short for a
	// request that can go elsewhere.
	dialTimeout = time.Second
	// attempts bounds how many instances one request is offered to.
	attempts = 8
	// idleConnTimeout is how long an unused connection to an instance stays that
	// speaks HTTP/2.
	idleConnTimeout = 60 * time.Second
	// idleConnTimeout1 is that of HTTP/1.1.
	idleConnTimeout1 = 30 * time.Second
	// maxResponseHeader bounds an answer's head, in bytes.
	maxResponseHeader = 64 << 10
)

// transport sends a request to the instance of its exchange, and to another
// one when that takes no connection.
type transport struct{ two http.RoundTripper }

func newTransport() *transport {
	return &transport{newBounded(with(idleConnTimeout, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }))}
}

func with(idle time.Duration, configure func(*http.Protocols)) *http.Transport {
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: maxResponseHeader,
		Protocols:              new(http.Protocols),
	}
	configure(t.Protocols)
	return t
}

// newOne is for one instance that speaks HTTP/1.1. Its connections are closed
// when the instance rests: when it goes on, it may close one that has become too
// old at the moment when a request is sent, and most requests cannot be sent again.
func newOne() upstream.Others {
	return with(idleConnTimeout1, func(p *http.Protocols) { p.SetHTTP1(true) })
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req.Context())
	settings := x.revision.Settings()
	body := req.Body
	for attempt := 1; ; attempt++ {
		to := t.two
		if !settings.HTTP2 {
			to = x.instance.Conns.Others(newOne).(*http.Transport)
		}
		req.URL.Host = x.instance.Address.String()
		if body != nil {
			req.Body = io.NopCloser(body) // a failed attempt must not close it
		}
		x.watch.answerWithin(settings.Answer(), x.revision.Name)
		resp, err := to.RoundTrip(req)
		if err == nil {
			x.watch.answered(settings.Idle, x.revision.Name)
			return resp, nil
		}
		if !dialFailed(err) || attempt == attempts || req.Context().Err() != nil {
			return nil, err
		}
		if err := again(req.Context(), x); err != nil {
			return nil, err
		}
	}
}

// again moves the exchange to another instance. Nothing has been sent yet.
func again(ctx context.Context, x *exchange) error {
	x.watch.stop()
	failed := x.instance
	failed.Suspect()
	x.instance = nil
	x.revision.Meter.Retry()
	begin := time.Now()
	next, wait, err := x.revision.Again(failed, x.start, ctx.Done())
	x.span.Waited(string(wait), begin)
	if x.instance = next; err != nil {
		return err
	}
	return x.awake(ctx)
}

// dialFailed says that no connection was made, so that nothing was sent.
func dialFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

var _ http.RoundTripper = (*transport)(nil)
