package pki

import (
	"crypto/x509"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority(t.TempDir(), "cluster-ca", now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ensure(t *testing.T, a *Authority, r Request, at time.Time) *x509.Certificate {
	t.Helper()
	if _, err := a.Ensure(r, at); err != nil {
		t.Fatal(err)
	}
	cert, _, err := readPair(a.path(r.Name))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestEnsureKeepsAGoodCertificate(t *testing.T) {
	a := newAuthority(t)
	r := Request{Name: "etcd", CommonName: "etcd", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}
	first := ensure(t, a, r, now)
	again := ensure(t, a, r, now.Add(leafLife-RenewBefore-time.Minute))
	if !first.Equal(again) {
		t.Error("a certificate with more than 30 days left was replaced")
	}
}

func TestEnsureRenews(t *testing.T) {
	base := Request{Name: "x", CommonName: "x", DNSNames: []string{"a"}}
	for name, tc := range map[string]struct {
		change func(*Request)
		at     time.Time
	}{
		"less than 30 days left": {func(*Request) {}, now.Add(leafLife - RenewBefore + time.Minute)},
		"not valid yet":          {func(*Request) {}, now.Add(-backdate - time.Second)},
		"another name":           {func(r *Request) { r.CommonName = "y" }, now},
		"another group":          {func(r *Request) { r.Organizations = []string{"g"} }, now},
		"another DNS name":       {func(r *Request) { r.DNSNames = []string{"b"} }, now},
		"another address":        {func(r *Request) { r.IPs = []net.IP{net.IPv4(10, 0, 0, 1)} }, now},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := NewAuthority(t.TempDir(), "cluster-ca", now.Add(-leafLife))
			if err != nil {
				t.Fatal(err)
			}
			first := ensure(t, a, base, now)
			r := base
			tc.change(&r)
			if ensure(t, a, r, tc.at).Equal(first) {
				t.Error("the old certificate was kept")
			}
		})
	}
}

func TestAuthoritySurvivesReload(t *testing.T) {
	a := newAuthority(t)
	b, err := NewAuthority(a.dir, a.name, now)
	if err != nil {
		t.Fatal(err)
	}
	if !a.cert.Equal(b.cert) {
		t.Error("loading the authority again made another one")
	}
}

func TestAuthorityOfALaterTimeIsKept(t *testing.T) {
	a := newAuthority(t)
	before, err := os.ReadFile(a.CertFile())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewAuthority(a.dir, a.name, now.Add(-backdate-time.Second)); err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("the clock is not named: %v", err)
	}
	if after, err := os.ReadFile(a.CertFile()); err != nil || string(after) != string(before) {
		t.Errorf("the authority has changed: %v", err)
	}
}

func TestClientCertificateCannotServe(t *testing.T) {
	cert := ensure(t, newAuthority(t), Request{Name: "c", CommonName: "c"}, now)
	for _, usage := range cert.ExtKeyUsage {
		if usage == x509.ExtKeyUsageServerAuth {
			t.Error("a client certificate may serve")
		}
	}
}

func TestKeysAreNotReadableByOthers(t *testing.T) {
	a := newAuthority(t)
	ensure(t, a, Request{Name: "c", CommonName: "c"}, now)
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
}

func TestForeignKeyIsRefused(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	key, err := os.ReadFile(b.KeyFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.KeyFile(), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewAuthority(a.dir, a.name, now); err == nil {
		t.Error("a key that does not belong to its certificate was accepted")
	}
}
