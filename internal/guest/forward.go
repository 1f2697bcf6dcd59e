package guest

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/containerd/errdefs"
	"redoubt.dev/redoubt/internal/wire"
)

// forward connects the host to a port of the machine's loopback interface,
// where a pod's programs may listen for themselves alone.
func forward(a *wire.Address) (func(wire.Stream), error) {
	if a.Port == 0 || a.Port > 65535 {
		return nil, fmt.Errorf("%w: port %d", errdefs.ErrInvalidArgument, a.Port)
	}
	host := "127.0.0.1"
	if a.IPv6 {
		host = "::1"
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(host, strconv.FormatUint(uint64(a.Port), 10)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err)
	}
	return func(stream wire.Stream) { join(conn.(*net.TCPConn), stream) }, nil
}

// join copies both ways until both directions have ended.
func join(conn *net.TCPConn, stream wire.Stream) {
	defer conn.Close()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(conn, stream)
		_ = conn.CloseWrite()
	})
	_, _ = io.Copy(stream, conn)
	_ = stream.CloseWrite()
	both.Wait()
}
