package instance

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// probe asks an instance whether it is ready, as its revision says.
type probe struct {
	port      int32
	http      *serving.HTTPGetAction // nil: a connection is enough
	timeout   time.Duration
	delay     time.Duration
	successes int
	// declared says that the kubelet probes too: what it says of the pod is
	// then worth something.
	declared bool
	// foreign is a probe that only the kubelet can make, in the container.
	foreign bool
}

// probeOf reads the container that gets the requests.
func probeOf(spec *serving.RevisionSpec) probe {
	p := probe{port: spec.Port(), timeout: time.Second, successes: 1}
	c := servingContainer(spec)
	declared := c.ReadinessProbe
	if declared == nil {
		declared = c.StartupProbe
	}
	if declared == nil {
		return p
	}
	p.declared = true
	p.timeout = time.Duration(max(declared.TimeoutSeconds, 1)) * time.Second
	p.delay = time.Duration(declared.InitialDelaySeconds) * time.Second
	p.successes = int(max(declared.SuccessThreshold, 1))
	switch {
	case declared.HTTPGet != nil:
		p.http, p.port = declared.HTTPGet, portOf(declared.HTTPGet.Port, p.port)
	case declared.TCPSocket != nil:
		p.port = portOf(declared.TCPSocket.Port, p.port)
	case declared.Exec != nil, declared.GRPC != nil:
		p.foreign = true
	}
	return p
}

// servingContainer is the one with a port, or the first.
func servingContainer(spec *serving.RevisionSpec) *serving.Container {
	for i := range spec.Containers {
		if len(spec.Containers[i].Ports) > 0 {
			return &spec.Containers[i]
		}
	}
	return &spec.Containers[0]
}

// portOf is the probe's own port. A name can only be that of the one port that
// a revision has.
func portOf(port intstr.IntOrString, serving int32) int32 {
	if port.Type == intstr.Int && port.IntVal > 0 {
		return port.IntVal
	}
	return serving
}

const (
	// shortest and longest are the pauses between attempts; in between they
	// are a hundredth of the time already waited, so that waiting costs little
	// time and no more processor than it is worth.
	shortest = 10 * time.Millisecond
	longest  = time.Second
	// firstDial is how long a connection may take at first. The answer of an
	// address that is just coming up is often lost, and the kernel asks again
	// only after a second.
	firstDial = 50 * time.Millisecond
)

// wait returns nil as soon as the instance is ready, or ctx's error.
func (p probe) wait(ctx context.Context, ip netip.Addr) error {
	start, succeeded := time.Now(), 0
	for pause := p.delay; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		waited := time.Since(start) - p.delay
		if p.attempt(ctx, ip, max(waited/10, firstDial)) == nil {
			succeeded++
		} else {
			succeeded = 0
		}
		if succeeded >= p.successes && ctx.Err() == nil {
			return nil
		}
		pause = min(max(waited/100, shortest), longest)
	}
}

func (p probe) attempt(ctx context.Context, ip netip.Addr, dial time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	dialer := &net.Dialer{Timeout: min(dial, p.timeout), KeepAlive: -1}
	address := netip.AddrPortFrom(ip, uint16(p.port)).String()
	if p.http == nil {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return p.get(ctx, dialer, address)
}

// get makes an HTTP probe as the kubelet does: any status from 200 to 399
// will do, and no certificate is checked.
func (p probe) get(ctx context.Context, dialer *net.Dialer, address string) error {
	scheme := "http"
	if p.http.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	path := p.http.Path
	if path == "" || path[0] != '/' {
		path = "/" + path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "redoubt-gateway-probe")
	for _, h := range p.http.HTTPHeaders {
		req.Header.Add(h.Name, h.Value)
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			req.Host = h.Value
		}
	}
	transport := &http.Transport{
		DialContext:       dialer.DialContext,
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}
	resp, err := transport.RoundTrip(req) // which follows no redirect
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return fmt.Errorf("probe answered %s", strconv.Itoa(resp.StatusCode))
	}
	return nil
}
