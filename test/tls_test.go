package test

import (
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
		Dial: func(string, string) (net.Conn, error) { // not everybody resolves names below localhost
			return net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", shared.State.HTTPPort))
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
