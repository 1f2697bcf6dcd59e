package hold

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"k8s.io/client-go/rest"
)

// The users whose certificates are taken, as they are bound to their rights.
const (
	gatewayUser = "redoubt:gateway"
	nodeUser    = "redoubt:node"
)

// handshakeLimit bounds how long the beginning of a connection may take.
const handshakeLimit = 5 * time.Second

// ErrNoCertificate says that a role reaches the API server without a client
// certificate, and so has nothing to prove itself with to the other role.
var ErrNoCertificate = errors.New("the kubeconfig has no client certificate; without one, pods are not frozen")

// Listen accepts gateways at address. Both sides prove themselves with the
// certificates that they have for the API server.
func Listen(cfg *rest.Config, address string) (net.Listener, error) {
	mutual, err := mutualTLS(cfg, gatewayUser)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for gateways: %w", err)
	}
	return tls.NewListener(l, mutual), nil
}

// Handshake ends the beginning of a connection that a listener accepted; it
// fails when the other side is not a gateway.
func Handshake(ctx context.Context, conn net.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	return conn.(*tls.Conn).HandshakeContext(ctx)
}

// Dialer connects to nodes.
type Dialer struct{ config *tls.Config }

// NewDialer uses the certificate of cfg.
func NewDialer(cfg *rest.Config) (*Dialer, error) {
	mutual, err := mutualTLS(cfg, nodeUser)
	if err != nil {
		return nil, err
	}
	return &Dialer{mutual}, nil
}

// Dial connects to the node at address.
func (d *Dialer) Dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	return (&tls.Dialer{Config: d.config}).DialContext(ctx, "tcp", address)
}

// mutualTLS takes the other side when its certificate is peer's, from the
// authority of the API server. Names of hosts do not count: a role's
// certificate says who it is, not where.
func mutualTLS(cfg *rest.Config, peer string) (*tls.Config, error) {
	own, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("read the certificates: %w", err)
	}
	if own == nil || own.GetClientCertificate == nil || own.RootCAs == nil {
		return nil, ErrNoCertificate
	}
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		GetClientCertificate: own.GetClientCertificate,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return own.GetClientCertificate(&tls.CertificateRequestInfo{})
		},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			return verify(s.PeerCertificates, own.RootCAs, peer)
		},
	}, nil
}

func verify(chain []*x509.Certificate, roots *x509.CertPool, peer string) error {
	if len(chain) == 0 {
		return errors.New("the other side has no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	if name := chain[0].Subject.CommonName; name != peer {
		return fmt.Errorf("the other side is %q, want %q", name, peer)
	}
	return nil
}
