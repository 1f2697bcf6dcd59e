// Package portforward lets containerd reach what a pod's programs listen for on
// their loopback interface, as "kubectl port-forward" needs.
//
// containerd dials 127.0.0.1 in the pod's network namespace, where with other
// runtimes the programs are. In a microVM they are in the guest, and nothing
// else uses the namespace's loopback. So every connection to it is led to a
// relay, which carries it into the guest.
package portforward

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/thread"
	"redoubt.dev/redoubt/internal/wire"
)

// maxConnections is how many connections of a pod are relayed at once: each holds
// a stream of its machine's, and memory of the node's. Others wait: kubectl would
// end all of its connections for one that is refused.
const maxConnections = 128

// Dialer connects to a port of the guest's loopback interface.
type Dialer func(ctx context.Context, port uint16) (wire.Stream, error)

// Serve relays connections in the network namespace at path until ctx ends.
func Serve(ctx context.Context, path string, dial Dialer) error {
	listener, err := listen(path)
	if err != nil {
		return fmt.Errorf("relay forwarded ports: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	defer listener.Close()
	err = serve(listener, func(conn *net.TCPConn) { relay(ctx, conn, dial) })
	if !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("relay forwarded ports: %w", err)
	}
	return nil
}

// serve has each connection handled as long as there is a place for it.
func serve(listener *net.TCPListener, handle func(*net.TCPConn)) error {
	places := make(chan struct{}, maxConnections)
	for {
		places <- struct{}{}
		conn, err := listener.AcceptTCP()
		if err != nil {
			return err
		}
		go func() {
			defer func() { <-places }()
			handle(conn)
		}()
	}
}

// listen makes the relay's socket in the namespace, and the rule that leads
// there.
func listen(path string) (*net.TCPListener, error) {
	type result struct {
		listener *net.TCPListener
		err      error
	}
	done := make(chan result)
	thread.Go(func() {
		l, err := listenIn(path)
		done <- result{l, err}
	})
	r := <-done
	return r.listener, r.err
}

func listenIn(path string) (*net.TCPListener, error) {
	ns, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	if err := redirect(uint16(listener.Addr().(*net.TCPAddr).Port)); err != nil {
		return nil, errors.Join(fmt.Errorf("set up nftables: %w", err), listener.Close())
	}
	return listener, nil
}

// redirect leads every TCP connection that is made to the loopback network to
// port:
//
//	table ip redoubt { chain output {
//		type nat hook output priority dstnat
//		ip daddr 127.0.0.0/8 ip protocol tcp redirect to :port
//	} }
func redirect(port uint16) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "redoubt"})
	chain := c.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 1}, // first byte of daddr
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{127}},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: 1},
	}})
	return c.Flush()
}

func relay(ctx context.Context, conn *net.TCPConn, dial Dialer) {
	defer conn.Close()
	port, err := originalPort(conn)
	if err != nil {
		return
	}
	stream, err := dial(ctx, port)
	if err != nil {
		// The client sees a reset, as when nobody listens.
		_ = conn.SetLinger(0)
		return
	}
	defer stream.Close()
	carry(conn, stream)
}

// carry copies both ways until both have ended.
func carry(conn *net.TCPConn, stream wire.Stream) {
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(stream, conn)
		_ = stream.CloseWrite()
	})
	if _, err := io.Copy(conn, stream); err != nil {
		// The client is gone. What is still sent is for nobody, but its sender waits
		// for room; nor is what the client has sent awaited any more.
		_ = stream.SetWriteDeadline(time.Unix(0, 1))
		_ = stream.CloseWrite()
		_, _ = io.Copy(io.Discard, stream)
	}
	_ = conn.CloseWrite()
	both.Wait()
}

// originalPort is what the client dialled (SO_ORIGINAL_DST).
func originalPort(conn *net.TCPConn) (port uint16, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var address unix.RawSockaddrInet4
	size := uint32(unsafe.Sizeof(address))
	controlErr := raw.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_IP, unix.SO_ORIGINAL_DST,
			uintptr(unsafe.Pointer(&address)), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			err = errno
		}
	})
	if err = errors.Join(controlErr, err); err != nil {
		return 0, err
	}
	var bytes [2]byte
	binary.NativeEndian.PutUint16(bytes[:], address.Port)
	return binary.BigEndian.Uint16(bytes[:]), nil
}
