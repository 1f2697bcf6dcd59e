package test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
)

// answersOverTLS asks as one does who trusts the instance's authority.
func (s service) answersOverTLS(t *testing.T, want string) {
	t.Helper()
	authority, trusted := shared.Inst.Data("pki", "gateway", "ca.crt"), x509.NewCertPool()
	data, err := os.ReadFile(authority)
	if err != nil || !trusted.AppendCertsFromPEM(data) {
		t.Fatalf("%s has no certificate: %v", authority, err)
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: trusted},
		// Not everybody resolves names below localhost.
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", shared.State.HTTPPort))
		},
	}}
	resp, err := client.Get("https://" + s.name + "." + s.ns + ".localhost")
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || string(body) != want+"\n" {
		t.Errorf("over TLS: %s %q, %v", resp.Status, body, err)
	}
}
