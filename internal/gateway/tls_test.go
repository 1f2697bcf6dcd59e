package gateway

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
	"strings"
	"testing"
	"time"

	"redoubt.dev/redoubt/internal/gateway/identity"
)

// issue makes a certificate that signs itself, and its key.
func issue(t *testing.T, change func(*x509.Certificate)) identity.Files {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := identity.Files{Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	for path, block := range map[string]*pem.Block{files.Certificate: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func authorityOf(domains ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = true, x509.KeyUsageCertSign, domains, len(domains) > 0
	}
}

func certificateOf(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames, c.IsCA, c.KeyUsage = names, true, x509.KeyUsageCertSign }
}

// trusting is a client that trusts a certificate and reaches the rig by any
// name.
func (r *rig) trusting(files identity.Files) *http.Client {
	r.Helper()
	pool := x509.NewCertPool()
	data, err := os.ReadFile(files.Certificate)
	if err != nil || !pool.AppendCertsFromPEM(data) {
		r.Fatal("no certificate to trust:", err)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, r.address)
		},
		Protocols: new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(true)
	r.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// what says what a request came in as: the client's protocol, and what the
// instance is told of it.
func what(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%s %d %s", resp.Proto, resp.StatusCode, body), err
}

var forwardedProto = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
	fmt.Fprint(w, req.Header.Get("X-Forwarded-Proto"), " ", req.Header.Get("Forwarded"))
})

func TestTLS(t *testing.T) {
	authority := issue(t, authorityOf("localhost"))
	r := newRigWith(t, Options{Authority: authority})
	r.service("hello", forwardedProto, nil)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		client := r.trusting(authority)
		client.Transport.(*http.Transport).Protocols.SetHTTP2(protocol == "HTTP/2.0")
		for range 2 { // the second on the same connection
			got, err := what(t, client, "https://Hello.default.localhost/")
			if err != nil || !strings.HasPrefix(got, protocol+" 200 https ") || !strings.Contains(got, "proto=https") {
				t.Errorf("%s: %q, %v", protocol, got, err)
			}
		}
	}
	// The same port takes requests without TLS.
	r.expect("hello.default.localhost", http.StatusOK, `http for=127.0.0.1;host="hello.default.localhost";proto=http`)
}

// No certificate is made for names that lead nowhere, for none at all, and for
// routes that are visible inside the cluster only.
func TestTLSOfUnknownNames(t *testing.T) {
	authority := issue(t, authorityOf())
	r := newRigWith(t, Options{Authority: authority})
	r.service("hello", says("hello"), nil)
	client := r.trusting(authority)
	for name, known := range map[string]bool{
		"hello.default.localhost": true, "other.default.localhost": false, "hello.default.svc.cluster.local": true,
		"example.com": false, "127.0.0.1": false,
	} {
		if _, err := what(t, client, "https://"+name+"/"); (err == nil) != known {
			t.Errorf("%s: %v, want it known: %v", name, err, known)
		}
	}
}

// What the authority may not vouch for is not believed, though it is signed.
// The control: an authority without bounds is.
func TestTLSWithinTheDomain(t *testing.T) {
	for _, domains := range [][]string{{"localhost"}, nil} {
		authority := issue(t, authorityOf(domains...))
		r := newRigWith(t, Options{Authority: authority})
		r.service("hello", says("hello"), nil)
		r.sink.SetMapping(mapping("default", "hello.example.com", "hello", time.Now()))
		_, err := what(t, r.trusting(authority), "https://hello.example.com/")
		if (err == nil) != (domains == nil) {
			t.Errorf("an authority for %v is believed about another domain: %v", domains, err)
		}
	}
}

func TestTLSWithAGivenCertificate(t *testing.T) {
	given := issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"*.shop.example"} })
	authority := issue(t, authorityOf())
	r := newRigWith(t, Options{Certificate: given, Authority: authority})
	r.service("hello", says("hello"), nil)
	r.sink.SetMapping(mapping("default", "www.shop.example", "hello", time.Now()))
	if got, err := what(t, r.trusting(given), "https://www.shop.example/"); err != nil {
		t.Errorf("the given certificate's name: %q, %v", got, err)
	}
	if got, err := what(t, r.trusting(authority), "https://hello.default.localhost/"); err != nil {
		t.Errorf("another name: %q, %v", got, err)
	}
}

func TestTLSIsRefusedWithoutACertificate(t *testing.T) {
	r := newRig(t)
	r.service("hello", says("hello"), nil)
	if got, err := what(t, r.trusting(issue(t, authorityOf())), "https://hello.default.localhost/"); err == nil {
		t.Errorf("answered %q", got)
	}
	r.expect("hello.default.localhost", http.StatusOK, "hello")
}

func TestTLSFilesThatAreNone(t *testing.T) {
	leaf := issue(t, func(*x509.Certificate) {})
	absent := identity.Files{Certificate: "/nowhere.crt", Key: "/nowhere.key"}
	for what, opts := range map[string]Options{
		"absent certificate": {Certificate: absent}, "absent authority": {Authority: absent},
		"authority that is none": {Authority: leaf},
	} {
		if _, err := newGateway(nil, opts); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

// A client that leaves is noticed over TLS, too, while the instance is silent;
// one that waits is not taken for one that has left.
func TestTLSClientThatLeavesEndsItsRequest(t *testing.T) {
	authority := issue(t, authorityOf("localhost"))
	r := newRigWith(t, Options{Authority: authority})
	left := make(chan struct{})
	r.service("deaf", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		<-req.Context().Done()
		close(left)
	}), nil)
	r.service("slow", sleeps, nil)
	c, err := tls.Dial("tcp", r.address, &tls.Config{ServerName: "deaf.default.localhost", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: deaf.default.localhost\r\n\r\n")
	r.until("the instance has it", func() bool { return r.load("deaf").Active == 1 })
	_ = c.Close()
	select {
	case <-left:
	case <-time.After(20 * time.Second):
		t.Fatal("the instance does not know that the client left")
	}
	r.until("it is over", func() bool { return r.load("deaf").Active == 0 })
	if got, err := what(t, r.trusting(authority), "https://slow.default.localhost/?first=1200ms"); err != nil || !strings.HasSuffix(got, " 200 begun done") {
		t.Errorf("a client that waits: %q, %v", got, err)
	}
}
