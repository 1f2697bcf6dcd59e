package cluster

import (
	"fmt"
	"net/netip"
	"time"

	"redoubt.dev/redoubt/internal/gateway/trace"
)

// Options are what a user may choose at boot.
type Options struct {
	// HTTPPort and APIPort are listened on at the host's loopback; 0 means
	// any free port.
	HTTPPort int
	APIPort  int
	// PodRange and ServiceRange are IPv4; they may be used elsewhere on the
	// host, because they never leave the instance's network namespace.
	PodRange     netip.Prefix
	ServiceRange netip.Prefix
	// Bare boots Kubernetes without Redoubt's roles.
	Bare bool
	// Measure finds out, once the instance is ready, what its classes can do.
	Measure bool
	// Traces say where traces of requests go. A collector on the host's loopback
	// is reached through a relay.
	Traces trace.Options
	// Wait is how long the whole boot may take.
	Wait time.Duration
}

// Defaults of Options. The ranges are those of RFC 2544, meant for
// benchmarking, which collide with nobody's network.
var Defaults = Options{
	HTTPPort:     8080,
	APIPort:      6443,
	PodRange:     netip.MustParsePrefix("198.18.0.0/16"),
	ServiceRange: netip.MustParsePrefix("198.19.0.0/16"),
	Measure:      true,
	Traces:       trace.Options{Share: 1},
	Wait:         2 * time.Minute,
}

// Validate names the flag that cannot work, and why.
func (o Options) Validate() error {
	for flag, port := range map[string]int{"--http-port": o.HTTPPort, "--api-port": o.APIPort} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("%s %d is no port: use 1 to 65535, or 0 for any free one", flag, port)
		}
	}
	if o.HTTPPort == o.APIPort && o.HTTPPort != 0 {
		return fmt.Errorf("--http-port and --api-port are both %d: give one of them another port", o.HTTPPort)
	}
	for flag, r := range map[string]netip.Prefix{"--pod-range": o.PodRange, "--service-range": o.ServiceRange} {
		if !r.Addr().Is4() || r.Bits() < 12 || r.Bits() > 24 {
			return fmt.Errorf("%s %s cannot be used: give an IPv4 range of /12 to /24", flag, r)
		}
	}
	if o.PodRange.Overlaps(o.ServiceRange) {
		return fmt.Errorf("--pod-range %s and --service-range %s overlap: give two separate ranges", o.PodRange, o.ServiceRange)
	}
	return o.Traces.Validate()
}

// nth is the address n places after the first of r.
func nth(r netip.Prefix, n int) netip.Addr {
	a := r.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}
