package front

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"redoubt.dev/redoubt/internal/gateway/accesslog"
	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/guard"
	"redoubt.dev/redoubt/internal/gateway/http1"
	"redoubt.dev/redoubt/internal/gateway/trace"
	"redoubt.dev/redoubt/internal/gateway/upstream"
)

const (
	// maxDials bounds how many instances one request is offered to.
	maxDials = 8
	// maxRepeats bounds how often a request is sent again after a connection
	// broke without an answer.
	maxRepeats = 2
)

// exchange is one request and its answer.
type exchange struct {
	*session
	start    time.Time
	head     int // length of the request's head
	req      http1.Request
	resp     http1.Response
	out      []byte     // what is written next
	body     body       // of the request
	uploaded chan error // from the goroutine that sends the rest of the body; nil without one

	revision *balance.Revision
	guard    *guard.Guard // nil: none
	cut      int          // how much of the path the instance does not see
	instance *balance.Instance
	up       *upstream.Conn
	// answerHead is the length of the answer's head, which is at the front of
	// what up has buffered.
	answerHead int

	status   int
	received int64
	sent     int64
	problem  string
	trace    string
	span     *trace.Span // nil: not recorded
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// begin makes an exchange. Finish must follow.
func (n *session) begin() *exchange {
	x := exchanges.Get().(*exchange)
	req, resp, out := x.req, x.resp, x.out
	*x = exchange{session: n, start: time.Now()}
	x.req.List, x.resp.List, x.out = req.List[:0], resp.List[:0], out[:0]
	return x
}

// exchange answers one request.
func (n *session) exchange(headLength int) verdict {
	x := n.begin()
	defer x.finish()
	x.head = headLength
	var fault *http1.Error
	if err := x.req.Parse(n.conn.Buffered()[:headLength]); errors.As(err, &fault) {
		return x.refuse(&balance.Refusal{Status: fault.Status, Message: fault.Message})
	}
	found, err := n.server.Table.Find(n.query(&x.req))
	if err != nil {
		return x.refuseFor(err)
	}
	revision := found.Revision
	if revision.Settings().HTTP2 || found.Async.Name != "" && x.wantsAsync(found.Cut) {
		return handOver
	}
	if x.guard, x.cut = found.Guard, found.Cut; x.guard != nil {
		if refusal := x.guard.Judge(x.judged()); refusal != nil {
			return x.refuseFor(refusal)
		}
	}
	if refusal := revision.Admit(x.start); refusal != nil {
		return x.refuseFor(refusal)
	}
	x.revision = revision
	n.watch.quiet.Store(0)
	n.enter(waiting, 0) // the queue has a time limit of its own
	x.span = n.server.Tracer.Begin(x.traceparent(), x.start)
	var wait balance.Wait
	x.instance, wait, err = revision.Enter(x.start, n.gone)
	x.span.Waited(string(wait), x.start)
	if err != nil {
		return x.refuseFor(err)
	}
	return x.carry()
}

// carry sends the request to its instance, or to another where that is safe,
// and passes the answer on.
func (x *exchange) carry() verdict {
	for dials, repeats := 1, 0; ; {
		err := x.attempt(repeats > 0)
		if err == nil {
			return x.answer()
		}
		if x.watch.cause.Load() != nil {
			return x.refuseFor(err)
		}
		switch {
		case errors.Is(err, errDial) && dials < maxDials:
			if !errors.Is(err, upstream.ErrNotTried) {
				dials++
			}
			x.instance.Suspect()
			if err := x.elsewhere(); err != nil {
				return x.refuseFor(err)
			}
		case errors.Is(err, errBroken) && repeats < maxRepeats && x.repeatable():
			repeats++
			x.revision.Meter.Retry()
		default:
			return x.refuseFor(err)
		}
	}
}

var (
	// errDial is a connection that could not be made: nothing was sent.
	errDial = errors.New("the instance takes no connection")
	// errBroken is a connection that ended before the answer's first byte.
	errBroken = errors.New("the instance closed the connection without an answer")
)

// wake returns the connection that was kept for the request that wakes the
// instance, if this is one that can be sent again. Any other request does without,
// and nobody gets it: an instance that serves one connection at a time would wait
// for that one.
func (x *exchange) wake() *upstream.Conn {
	c := x.instance.Conns.Wake()
	if c != nil && (!x.req.Idempotent() || x.req.HasBody()) {
		_ = c.Close()
		return nil
	}
	return c
}

// repeatable says that sending the request again does no harm and that all of
// it is at hand.
func (x *exchange) repeatable() bool { return x.req.Idempotent() && x.uploaded == nil }

// elsewhere moves the request to another instance.
func (x *exchange) elsewhere() (err error) {
	x.revision.Meter.Retry()
	failed := x.instance
	x.instance = nil
	x.enter(waiting, 0)
	begin := time.Now()
	var wait balance.Wait
	x.instance, wait, err = x.revision.Again(failed, x.start, x.gone)
	x.span.Waited(string(wait), begin)
	return err
}

// attempt sends the request and reads the answer's head. Fresh asks for a new
// connection.
func (x *exchange) attempt(fresh bool) (err error) {
	if err := x.connect(fresh); err != nil {
		return err
	}
	x.use(x.up)
	settings := x.revision.Settings()
	x.enter(asked, settings.Answer())
	x.passed(settings.Idle)
	if err = x.send(); err == nil {
		err = x.readAnswer()
	}
	if err != nil {
		x.drop()
	}
	return err
}

// connect waits until the instance runs and has a connection to it. It tries
// to connect first: that takes part of the wait where the kernel connects for
// an instance that is frozen, or the instance does so before the word that it
// runs is here.
func (x *exchange) connect(fresh bool) (err error) {
	dial := x.instance.Conns.Get
	if fresh {
		dial = x.instance.Conns.Dial
	}
	if !x.instance.Thawing() {
		x.up, err = dial()
		return dialed(err)
	}
	begin := time.Now()
	if x.up = x.wake(); x.up == nil {
		x.up, err = dial()
	}
	if err := x.revision.Awake(x.instance, begin, x.gone); err != nil {
		return err
	}
	x.span.Waited(string(balance.Thaw), begin)
	if err != nil {
		x.up, err = dial()
	}
	return dialed(err)
}

func dialed(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", errDial, err)
	}
	return nil
}

// passed notes that bytes went through, for the time that none may.
func (x *exchange) passed(idle time.Duration) {
	if idle > 0 {
		x.watch.quiet.Store(x.server.clock.in(idle))
	}
}

// drop closes the instance's connection and waits until nobody uses it.
func (x *exchange) drop() {
	x.use(nil)
	if x.up == nil {
		return
	}
	if x.uploaded != nil {
		_ = x.conn.SetReadDeadline(past)
	}
	_ = x.up.Close()
	if x.uploaded != nil {
		<-x.uploaded
	}
	x.up = nil
}

// refuseFor answers for an error.
func (x *exchange) refuseFor(err error) verdict {
	refusal := x.watch.cause.Load()
	if refusal == nil && !errors.As(err, &refusal) {
		refusal = &balance.Refusal{Status: http.StatusBadGateway, Message: "the instance gave no valid answer: " + err.Error()}
	}
	if refusal.Status == balance.StatusClientGone {
		x.status, x.problem = refusal.Status, refusal.Message
		return end
	}
	return x.refuse(refusal)
}

// refuse answers in the gateway's own words. The connection can only go on if
// it is clear where the next request begins.
func (x *exchange) refuse(r *balance.Refusal) verdict {
	x.status, x.problem = r.Status, r.Message
	goesOn := x.revision != nil || x.guard != nil || r.Status == http.StatusNotFound || r.RetryAfter()
	after := linger
	if goesOn && x.uploaded == nil && !x.req.HasBody() && x.req.KeepsAlive() && !x.server.draining.Load() {
		after = keep
	}
	b := append(x.out[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(append(b, ' '), http.StatusText(r.Status)...)
	b = append(b, "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.Message)+1), 10)
	if r.RetryAfter() {
		b = append(b, "\r\nRetry-After: 1"...)
	}
	for _, h := range r.Header {
		b = append(append(append(append(b, "\r\n"...), h[0]...), ": "...), h[1]...)
	}
	if x.guard.CORS() {
		b = append(b, "\r\n"+guard.AllowOrigin+": *"...)
	}
	switch {
	case after != keep:
		b = append(b, "\r\nConnection: close"...)
	case x.req.Minor == 0:
		b = append(b, "\r\nConnection: keep-alive"...)
	}
	b = append(b, "\r\n\r\n"...)
	if !bytes.Equal(x.req.Method, headMethod) {
		b = append(append(b, r.Message...), '\n')
	}
	x.out = b
	x.enter(passing, bodyTimeout)
	if _, err := x.conn.Write(b); err != nil {
		return end
	}
	return after
}

var headMethod = []byte("HEAD")

// finish gives everything back, counts and logs.
func (x *exchange) finish() {
	now := time.Now()
	if x.up != nil {
		x.drop()
	}
	if x.revision != nil {
		x.revision.Leave(now, x.instance)
		x.revision.Meter.Request(x.status, now.Sub(x.start))
	}
	if x.span != nil {
		x.endSpan()
	}
	if x.server.Log != nil && x.status != 0 {
		x.log(now)
	}
	x.watch.upload.Store(0)
	x.watch.quiet.Store(0)
	x.watch.cause.Store(nil)
	if x.uploaded == nil && x.head > 0 && x.status != 0 {
		x.conn.Discard(x.head + x.body.buffered)
	}
	x.session = nil
	exchanges.Put(x)
}

func (x *exchange) endSpan() {
	path, _, _ := bytes.Cut(x.req.Target, question)
	x.span.End(trace.Outcome{
		Method: string(x.req.Method), Host: string(x.req.Host), Path: string(path),
		Protocol: "1." + strconv.Itoa(x.req.Minor), Peer: x.peerText, Status: x.status,
		Revision: x.revision.Name, Problem: x.problem,
	})
}

func (x *exchange) log(now time.Time) {
	e := accesslog.Entry{
		Start: x.start, Took: now.Sub(x.start), Peer: x.peerText, Protocol: "HTTP/1." + strconv.Itoa(x.req.Minor),
		Method: string(x.req.Method), Host: string(x.req.Host), Path: string(x.req.Target),
		Status: x.status, Received: x.received, Sent: x.sent, Trace: x.trace, Problem: x.problem,
	}
	if x.revision != nil {
		e.Namespace, e.Revision = x.revision.Name.Namespace, x.revision.Name.Name
	}
	if x.instance != nil {
		e.Instance = x.instance.Name
	}
	x.server.Log.Write(&e)
}
