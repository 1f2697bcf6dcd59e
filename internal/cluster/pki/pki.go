// Package pki keeps an instance's certificates: authorities that live ten
// years and leaf certificates that live one and are renewed when they have
// less than RenewBefore left or no longer say what is asked of them.
//
// Keys never leave the folder they are made in; folders are 0700 and keys 0600.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// RenewBefore is how much life a certificate must have left to be kept.
	RenewBefore = 30 * 24 * time.Hour

	leafLife      = 365 * 24 * time.Hour
	authorityLife = 10 * leafLife
	// backdate tolerates a clock that is set back after the certificate is made.
	backdate = time.Hour
)

// Request describes one leaf certificate.
type Request struct {
	// Name is the base of its files: <name>.crt and <name>.key.
	Name string
	// CommonName and Organizations are the user and groups that Kubernetes
	// reads from a client certificate.
	CommonName    string
	Organizations []string
	// DNSNames and IPs are what a server certificate is valid for; a request
	// without either is for a client only.
	DNSNames []string
	IPs      []net.IP
}

// Authority signs leaf certificates into its own folder.
type Authority struct {
	dir  string
	name string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority loads the authority called name from dir, or makes it. With
// domains it can vouch for names in them and for no others (RFC 5280, section
// 4.2.1.10).
func NewAuthority(dir, name string, now time.Time, domains ...string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make certificate folder: %w", err)
	}
	a := &Authority{dir: dir, name: name}
	cert, key, err := readPair(a.path(name))
	if err == nil && now.Before(cert.NotBefore) {
		// Another authority would cut off whoever has one's certificates.
		return nil, fmt.Errorf("certificate authority %s is valid from %s on, and the clock says %s; set the clock",
			name, cert.NotBefore.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if err == nil && cert.IsCA && now.Add(leafLife).Before(cert.NotAfter) {
		a.cert, a.key = cert, key
		return a, nil
	}
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("load certificate authority %s: %w", name, err)
	}
	return a, a.create(now, domains)
}

// CertFile is the path of the authority's own certificate.
func (a *Authority) CertFile() string { return a.path(a.name) + ".crt" }

// KeyFile is the path of the authority's key.
func (a *Authority) KeyFile() string { return a.path(a.name) + ".key" }

// Ensure makes the certificate that r describes unless a good one exists, and
// says whether it has.
func (a *Authority) Ensure(r Request, now time.Time) (made bool, err error) {
	cert, _, err := readPair(a.path(r.Name))
	if err == nil && a.satisfies(cert, r, now) {
		return false, nil
	}
	return true, a.Issue(r, now)
}

// Issue makes the certificate that r describes, with a new key.
func (a *Authority) Issue(r Request, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key %s: %w", r.Name, err)
	}
	template := leaf(r, now)
	if template.SerialNumber, err = serial(); err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("sign certificate %s: %w", r.Name, err)
	}
	return writePair(a.path(r.Name), der, key)
}

func (a *Authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *Authority) create(now time.Time, domains []string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key %s: %w", a.name, err)
	}
	number, err := serial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          number,
		Subject:               pkix.Name{CommonName: "redoubt " + a.name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,

		PermittedDNSDomainsCritical: len(domains) > 0,
		PermittedDNSDomains:         domains,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("sign certificate authority %s: %w", a.name, err)
	}
	if err := writePair(a.path(a.name), der, key); err != nil {
		return err
	}
	a.key = key
	a.cert, err = x509.ParseCertificate(der)
	return err
}

// satisfies says whether cert can go on serving r.
func (a *Authority) satisfies(cert *x509.Certificate, r Request, now time.Time) bool {
	return cert.CheckSignatureFrom(a.cert) == nil &&
		!now.Before(cert.NotBefore) && // as after a clock that was set back
		now.Add(RenewBefore).Before(cert.NotAfter) &&
		cert.Subject.CommonName == r.CommonName &&
		slices.Equal(cert.Subject.Organization, r.Organizations) &&
		slices.Equal(cert.DNSNames, r.DNSNames) &&
		slices.EqualFunc(cert.IPAddresses, r.IPs, net.IP.Equal)
}

func leaf(r Request, now time.Time) *x509.Certificate {
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(r.DNSNames)+len(r.IPs) > 0 {
		usage = append(usage, x509.ExtKeyUsageServerAuth)
	}
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: r.CommonName, Organization: r.Organizations},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: usage,
		DNSNames:    r.DNSNames,
		IPAddresses: r.IPs,
	}
}

func serial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return n, nil
}
