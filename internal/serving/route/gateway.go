package route

import (
	"context"
	"net/netip"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	discovery "k8s.io/client-go/applyconfigurations/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"redoubt.dev/redoubt/internal/serving/class"
)

const (
	// gatewayName is that of the Service that every route's name leads to, in
	// the platform's namespace.
	gatewayName = "gateway"
	// gatewayHost is its name inside the cluster.
	gatewayHost = gatewayName + "." + class.Namespace + ".svc.cluster.local"
	// gatewayPort is where services answer inside the cluster.
	gatewayPort = 80
	// again is how soon the Service is there again that somebody has deleted.
	again = time.Minute
)

// gateway keeps the gateway's name inside the cluster until its context ends.
type gateway struct {
	client  client.Client
	address netip.AddrPort
	log     logr.Logger
}

// Start does so as the manager's part.
func (g *gateway) Start(ctx context.Context) error {
	for {
		if err := g.apply(ctx); err != nil && ctx.Err() == nil {
			g.log.Error(err, "keep the gateway's name inside the cluster")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
	}
}

// apply makes one Service for all routes: what a Service with an address of its
// own takes of the API server and of every node is more than a route itself.
func (g *gateway) apply(ctx context.Context) error {
	svc := core.Service(gatewayName, class.Namespace).WithSpec(core.ServiceSpec().
		WithType(corev1.ServiceTypeClusterIP).
		WithPorts(core.ServicePort().WithName("http").WithPort(gatewayPort).WithProtocol(corev1.ProtocolTCP)))
	slice := discovery.EndpointSlice(gatewayName, class.Namespace).
		WithLabels(map[string]string{discoveryv1.LabelServiceName: gatewayName}).
		WithAddressType(discoveryv1.AddressTypeIPv4).
		WithPorts(discovery.EndpointPort().WithName("http").WithPort(int32(g.address.Port())).WithProtocol(corev1.ProtocolTCP)).
		WithEndpoints(discovery.Endpoint().WithAddresses(g.address.Addr().String()))
	owner := client.FieldOwner("redoubt-controller")
	if err := g.client.Apply(ctx, svc, owner, client.ForceOwnership); err != nil {
		return err
	}
	return g.client.Apply(ctx, slice, owner, client.ForceOwnership)
}
