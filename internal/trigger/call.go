package trigger

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"
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

func newCaller(gateway netip.AddrPort) *caller {
	return &caller{gateway: gateway, client: &http.Client{Timeout: longest}, pause: firstPause}
}

// event is what a function is called with.
type event struct {
	namespace, function string
	id, source          string
	time                time.Time
	data                []byte // JSON, or nothing
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
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.gateway.String()+"/", bytes.NewReader(e.data))
	if err != nil {
		return true, err
	}
	// A function of the trigger's own namespace, by the name inside of the
	// cluster: it need not be visible from outside.
	req.Host = e.function + "." + e.namespace + ".svc.cluster.local"
	kind := "text/plain; charset=utf-8"
	if len(e.data) > 0 {
		kind = "application/json"
	}
	for name, value := range map[string]string{
		"Content-Type": kind, "event-id": e.id, "event-type": kind, "event-time": e.time.UTC().Format(time.RFC3339),
		"event-namespace": e.source, "X-Request-Id": e.id,
	} {
		req.Header.Set(name, value)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return false, fmt.Errorf("the gateway cannot be reached: %w", err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxSaid))
	if err != nil {
		return true, fmt.Errorf("the answer broke off: %w", err)
	}
	if resp.StatusCode >= 400 {
		return !unavailable(resp.StatusCode), fmt.Errorf("answered %s: %s", resp.Status, strings.ToValidUTF8(strings.TrimSpace(string(said)), "?"))
	}
	return true, nil
}

// unavailable are the statuses that the gateway gives for want of an instance.
func unavailable(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable
}
