package trigger

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"redoubt.dev/redoubt/internal/trigger/jetstream"
)

func newBroker(cluster client.Reader, opts NATSOptions) *jetstream.Broker {
	all := []nats.Option{nats.SkipHostLookup(), nats.SetCustomDialer(dialer{cluster})}
	if opts.Credentials != "" {
		all = append(all, nats.UserCredentials(opts.Credentials))
	}
	return jetstream.New(opts.URL, all...)
}

// dialer connects to hosts and, by their names inside the cluster, to its
// services: the controllers may run where these names are not resolved.
type dialer struct{ cluster client.Reader }

// dialPatience bounds a connection's making.
const dialPatience = 5 * time.Second

func (d dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialPatience)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if name, ok := service(host); ok {
		var svc corev1.Service
		if err := d.cluster.Get(ctx, name, &svc); err != nil {
			return nil, fmt.Errorf("find the service %s: %w", name, err)
		}
		if net.ParseIP(svc.Spec.ClusterIP) == nil {
			return nil, fmt.Errorf("the service %s has no address", name)
		}
		address = net.JoinHostPort(svc.Spec.ClusterIP, port)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// service reads NAME.NAMESPACE.svc, with the cluster's domain or without.
func service(host string) (name client.ObjectKey, ok bool) {
	parts := strings.SplitN(host, ".", 4)
	if len(parts) < 3 || parts[2] != "svc" {
		return name, false
	}
	return client.ObjectKey{Namespace: parts[1], Name: parts[0]}, true
}
