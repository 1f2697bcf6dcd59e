package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"sync"
	"time"
)

const (
	// life is how long a certificate is valid: clients ask often, and the
	// gateway forgets.
	life = 7 * 24 * time.Hour
	// renewal is how much life is left of one that is not shown any more.
	renewal = 24 * time.Hour
	// backdate tolerates clients whose clocks are late.
	backdate = time.Hour
	// maxKept bounds the certificates that are kept.
	maxKept = 4096
)

// authority signs certificates for single names, all of one key that lives as
// long as this process.
type authority struct {
	issuer *tls.Certificate
	key    *ecdsa.PrivateKey

	mu   sync.Mutex
	kept map[string]*tls.Certificate // guarded by mu; by name
}

func newAuthority(files Files) (*authority, error) {
	issuer, err := load(files)
	if err != nil {
		return nil, err
	}
	if !issuer.Leaf.IsCA {
		return nil, fmt.Errorf("%s is no certificate authority's", files.Certificate)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &authority{issuer: issuer, key: key, kept: map[string]*tls.Certificate{}}, nil
}

// certificate is the one for a name.
func (a *authority) certificate(name string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if c := a.kept[name]; c != nil && now.Before(c.Leaf.NotAfter.Add(-renewal)) {
		return c, nil
	}
	c, err := a.sign(name, now)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for %q: %w", name, err)
	}
	if len(a.kept) >= maxKept {
		clear(a.kept)
	}
	a.kept[name] = c
	return c, nil
}

func (a *authority) sign(name string, now time.Time) (*tls.Certificate, error) {
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: number,
		Subject:      pkix.Name{CommonName: "redoubt gateway"},
		DNSNames:     []string{name},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(life),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.issuer.Leaf, a.key.Public(), a.issuer.PrivateKey)
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: append([][]byte{der}, a.issuer.Certificate...), PrivateKey: a.key}
	c.Leaf, err = x509.ParseCertificate(der)
	return c, err
}
