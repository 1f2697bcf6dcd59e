package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/table"
)

// handshakeTimeout is how long a client may take to agree on keys.
const handshakeTimeout = 10 * time.Second

// leads says whether a name from outside the cluster is some route's.
func (g *gateway) leads(name string) bool {
	_, err := g.table.Find(table.Query{Host: name, Public: true})
	var refusal *balance.Refusal
	return !errors.As(err, &refusal) || refusal.Status != http.StatusNotFound
}

// own is the certificate of the trigger or mapping that has a host, if it names
// one.
func (g *gateway) own(host string) (pair *tls.Certificate, own bool) {
	return g.table.Certificate(host).Certificate()
}

// agree returns what makes TLS connections of those that begin so, and gives
// them to serve. It returns when the client and the gateway have agreed, or
// have not.
func (g *gateway) agree(ctx context.Context, serve func(c net.Conn, public bool)) func(c net.Conn, public bool) {
	return func(c net.Conn, public bool) {
		conn := tls.Server(c, g.tls)
		limited, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		if conn.HandshakeContext(limited) != nil { // the client knows why
			_ = c.Close()
			return
		}
		serve(conn, public)
	}
}
