package test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// answersOverTLS asks as one does who trusts the instance's authority.
func (s service) answersOverTLS(t *testing.T, want string) {
	t.Helper()
	authority, trusted := shared.Inst.Data("pki", "gateway", "ca.crt"), x509.NewCertPool()
	data, err := os.ReadFile(authority)
	if err != nil || !trusted.AppendCertsFromPEM(data) {
		t.Fatalf("%s has no certificate: %v", authority, err)
	}
	resp, err := trusting(trusted).Get("https://" + s.name + "." + s.ns + ".localhost")
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || string(body) != want+"\n" {
		t.Errorf("over TLS: %s %q, %v", resp.Status, body, err)
	}
}

// trusting asks the instance's gateway, whatever the host.
func trusting(authorities *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: authorities},
			// Not everybody resolves names below localhost.
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", shared.State.HTTPPort))
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// selfSigned makes a certificate of its own for a name, and returns the files
// with it and its key.
func selfSigned(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, of, of, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file, kind string, data []byte) string {
		path := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("crt", "CERTIFICATE", der), write("key", "PRIVATE KEY", secret)
}
