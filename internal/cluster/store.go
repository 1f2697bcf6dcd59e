package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"

	"redoubt.dev/redoubt/internal/cluster/etcd"
)

// etcdClients is where etcd listens for clients, inside the network namespace.
const etcdClients = "https://127.0.0.1:2379"

// keepStore lets etcd take writes again when it is full, until ctx ends.
func (b *boot) keepStore(ctx context.Context) error {
	authority, err := os.ReadFile(b.pki("etcd", "ca.crt"))
	if err != nil {
		return fmt.Errorf("read etcd's authority: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := &http.Client{Transport: &http.Transport{
		DialContext: b.dialInside,
		TLSClientConfig: &tls.Config{RootCAs: roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			// It may be another one than at the last connection.
			c, err := tls.LoadX509KeyPair(b.pki("etcd", "kube-apiserver.crt"), b.pki("etcd", "kube-apiserver.key"))
			return &c, err
		}},
	}}
	etcd.Store{Client: client, URL: etcdClients}.Keep(ctx, func(news string) { fmt.Fprintln(b.out, news) })
	return nil
}
