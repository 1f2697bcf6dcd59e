package trigger

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// longest is the time that a call may take: that of the serving layer's
	// longest request, and of waking the function.
	longest = 11 * time.Minute
	// tries is how often a call is made that reached nobody, first after
	// firstPause, which doubles.
	tries      = 5
	firstPause = time.Second
	// maxSaid is how much of an answer is told to the owner, in bytes.
	maxSaid = 300
)

// caller calls functions through the gateway.
type caller struct {
	gateway netip.AddrPort
	client  *http.Client
	pause   time.Duration
}

// newCaller follows no redirect: where one leads is the function's owner's choice,
// and the controllers reach what the owner cannot.
func newCaller(gateway netip.AddrPort) *caller {
	client := &http.Client{Timeout: longest, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &caller{gateway: gateway, client: client, pause: firstPause}
}

// event is what a function is called with.
type event struct {
	namespace, function string
	// id and source are Kubeless's event-id and event-namespace.
	id, source string
	// origin is the trigger, as a reference for CloudEvents, and what its
	// kind, as their type; subject is what it is about, or nothing.
	origin, what, subject string
	time                  time.Time
	data                  []byte
	// kind is the data's media type.
	kind string
	// header is the event's own, in lower case; if it is a CloudEvent, it says
	// the above of itself.
	header map[string]string
}

// plain says that a value can be a header's as it is.
func plain(value string) bool {
	return len(value) <= maxAttribute && !strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

// kindOf is the media type of data that nobody has said one of.
func kindOf(data []byte) string {
	switch {
	case len(data) > 0 && (data[0] == '{' || data[0] == '[') && json.Valid(data):
		return "application/json"
	case utf8.Valid(data):
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// call returns what went wrong, after as many tries as it takes to reach the
// function: one that has answered is not called again.
func (c *caller) call(ctx context.Context, e event) error {
	pause := c.pause
	for n := 1; ; n++ {
		reached, err := c.once(ctx, e)
		if reached || err == nil || n == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
			pause *= 2
		}
	}
}

// once makes one call and says whether it came to the function.
func (c *caller) once(ctx context.Context, e event) (reached bool, err error) {
	_, reached, err = c.ask(ctx, e, maxSaid)
	return reached, err
}

// answer is what a function answered.
type answer struct {
	code int
	kind string
	// header are the attributes of a CloudEvent, if it is one in binary mode.
	header map[string]string
	body   []byte
	// tooLarge says that the body is longer than what was asked for, and not
	// all here.
	tooLarge bool
}

// ask makes one call and returns as many bytes of the answer as are wanted. It
// says whether the call came to the function.
func (c *caller) ask(ctx context.Context, e event, wanted int64) (a answer, reached bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.gateway.String()+"/", bytes.NewReader(e.data))
	if err != nil {
		return a, true, err
	}
	// A function of the trigger's own namespace, by the name inside of the
	// cluster: it need not be visible from outside.
	req.Host = e.function + "." + e.namespace + ".svc.cluster.local"
	for name, value := range e.headers() {
		req.Header.Set(name, value)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return a, false, fmt.Errorf("the gateway cannot be reached: %w", err)
	}
	defer resp.Body.Close()
	a.code, a.header = resp.StatusCode, attributes(resp.Header)
	if kind := resp.Header.Get("Content-Type"); len(kind) <= maxType && plain(kind) {
		a.kind = kind
	}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, wanted+1)); err != nil {
		return a, true, fmt.Errorf("the answer broke off: %w", err)
	}
	if a.tooLarge = int64(len(a.body)) > wanted; a.tooLarge {
		a.body = a.body[:wanted]
	}
	if resp.StatusCode >= 400 {
		said := a.body[:min(len(a.body), maxSaid)]
		return a, !unavailable(resp.StatusCode), fmt.Errorf("answered %s: %s", resp.Status, strings.ToValidUTF8(strings.TrimSpace(string(said)), "?"))
	}
	return a, true, nil
}

// unavailable are the statuses that the gateway gives for want of an instance.
func unavailable(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable
}
