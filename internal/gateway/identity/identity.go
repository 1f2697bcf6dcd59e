// Package identity has the certificates that the gateway shows to clients who
// speak TLS: those of the names' owners, those that it was given, and for other
// names its own authority's, made when they are first asked for.
//
// A certificate is made for names that lead somewhere and for no others, so
// that what strangers ask for takes neither work nor memory.
package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"redoubt.dev/redoubt/internal/gateway/table"
)

// Files are a certificate with what vouches for it, and its key, both PEM.
type Files struct{ Certificate, Key string }

// Options say where certificates come from.
type Options struct {
	// Own is the certificate that the owner of a name wants to be shown for
	// it; own is false where the owner named none, and the pair nil where it
	// cannot be used: then nothing else is shown.
	Own func(name string) (pair *tls.Certificate, own bool)
	// Given is used for the names that it is valid for, and read again when
	// its files change. It may be absent.
	Given Files
	// Authority signs certificates for other names. It may be absent.
	Authority Files
	// Known says whether a name, in lower case, leads somewhere.
	Known func(name string) bool
}

// Configuration is the TLS configuration of a server. It offers HTTP/2 and
// HTTP/1.1 (RFC 7301), from TLS 1.2 on.
func Configuration(opts Options) (*tls.Config, error) {
	s := source{own: opts.Own, known: opts.Known}
	var err error
	if opts.Given != (Files{}) {
		if s.given, err = newFollowed(opts.Given); err != nil {
			return nil, fmt.Errorf("load the gateway's certificate: %w", err)
		}
	}
	if opts.Authority != (Files{}) {
		if s.authority, err = newAuthority(opts.Authority); err != nil {
			return nil, fmt.Errorf("load the gateway's authority: %w", err)
		}
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: s.certificate,
	}, nil
}

// source chooses.
type source struct {
	own       func(name string) (*tls.Certificate, bool)
	given     *followed  // nil: none
	authority *authority // nil: none
	known     func(name string) bool
}

func (s source) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := table.HostName(hello.ServerName)
	if c, own := s.own(name); own {
		if c == nil {
			return nil, fmt.Errorf("the certificate of %q cannot be used", name)
		}
		return c, nil
	}
	if s.given != nil {
		if c := s.given.current(); s.authority == nil || hello.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	switch {
	case name == "":
		return nil, errors.New("the client names no host (RFC 6066, server_name)")
	case s.authority == nil || !s.known(name):
		return nil, fmt.Errorf("there is no certificate for the name %q", name)
	}
	return s.authority.certificate(name)
}

// load reads a pair with its certificate parsed.
func load(f Files) (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, err
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// changed says when either file was last written.
func (f Files) changed() (latest int64) {
	for _, path := range []string{f.Certificate, f.Key} {
		if info, err := os.Stat(path); err == nil {
			latest = max(latest, info.ModTime().UnixNano())
		}
	}
	return latest
}
