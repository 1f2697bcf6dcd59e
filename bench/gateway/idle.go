package gateway

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/proc"
)

const (
	// idleConnections are kept open, each after a request of its own.
	idleConnections = 10_000
	// maxIdleMemory is what the gateway may take for all of them, in MB.
	maxIdleMemory = 300
	// rest is how long they do nothing before the gateway's memory is read.
	rest = 5 * time.Second
)

// idle measures what connections take that nobody uses at the moment.
func idle(ctx context.Context, p *platform.Platform, address, host string) (measure.Result, error) {
	before, err := memory(ctx, p)
	if err != nil {
		return measure.Result{}, err
	}
	conns, err := connect(p.Inst.NetNS(), address, host)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	if err != nil {
		return measure.Result{}, fmt.Errorf("after %d idle connections: %w", len(conns), err)
	}
	select {
	case <-ctx.Done():
		return measure.Result{}, ctx.Err()
	case <-time.After(rest):
	}
	after, err := memory(ctx, p)
	if err != nil {
		return measure.Result{}, err
	}
	return measure.Of(suite, fmt.Sprintf("%d idle connections", idleConnections), "gateway's memory", "MB", float64(after-before)/1e6).Within(maxIdleMemory), nil
}

// memory is what the gateway takes, in bytes.
func memory(ctx context.Context, p *platform.Platform) (int64, error) {
	pid, err := p.Process(ctx, "gateway")
	if err != nil {
		return 0, err
	}
	m, err := proc.MemoryOf(pid)
	return m.Share, err
}

// connect opens the connections within a network namespace. Those that are open
// are returned with an error, too.
func connect(ns, address, host string) (conns []net.Conn, err error) {
	err = netns.Do(ns, func() error {
		for range idleConnections {
			c, err := net.Dial("tcp4", address)
			if err != nil {
				return err
			}
			conns = append(conns, c)
			if err := visit(c, host); err != nil {
				return err
			}
		}
		return nil
	})
	return conns, err
}

// visit makes a request and reads its answer, so that the connection is one that
// was used.
func visit(c net.Conn, host string) error {
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answered %s", resp.Status)
	}
	return nil
}
