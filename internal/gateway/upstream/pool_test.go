package upstream

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// listen takes connections, and counts them.
func listen(t *testing.T) (netip.AddrPort, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var taken atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			taken.Add(1)
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), &taken
}

func waits(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// While as many connections are being made as may, others wait, and take one
// that is given back.
func TestConnectionsAreMadeAFewAtATime(t *testing.T) {
	address, taken := listen(t)
	p := NewPool(address)
	first, err := p.Get()
	if err != nil {
		t.Fatal(err)
	}
	p.dials = maxDials
	got := make(chan *Conn, 2)
	for range 2 {
		go func() {
			c, err := p.Get()
			if err != nil {
				t.Error(err)
			}
			got <- c
		}()
	}
	for waits(p) < 2 {
		time.Sleep(time.Millisecond)
	}
	p.Put(first)
	if c := <-got; c != first || !c.Used {
		t.Error("who waited did not get the connection that was given back")
	}
	p.dialed(nil)
	if c := <-got; c == nil || c == first || c.Used {
		t.Error("who waited did not make a connection when it could")
	}
	if n := taken.Load(); n > 2 {
		t.Errorf("%d connections were made, want 2", n)
	}
	if p.dials != maxDials-1 {
		t.Errorf("%d are thought to be made, want %d", p.dials, maxDials-1)
	}
}

// When no connection can be made, nobody waits for it.
func TestNobodyWaitsForAnInstanceThatIsGone(t *testing.T) {
	p := NewPool(netip.MustParseAddrPort("127.0.0.1:1"))
	var all sync.WaitGroup
	for range 10 * maxDials {
		all.Go(func() {
			if c, err := p.Get(); err == nil {
				t.Errorf("a connection to nobody: %v", c.RemoteAddr())
			}
		})
	}
	all.Wait()
	if p.dials != 0 || waits(p) != 0 {
		t.Errorf("%d are thought to be made, %d wait", p.dials, waits(p))
	}
}

func TestManyShareAnInstance(t *testing.T) {
	address, _ := listen(t)
	p := NewPool(address)
	p.Open()
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			for range 10 {
				c, err := p.Get()
				if err != nil {
					t.Error(err)
					return
				}
				p.Put(c)
			}
		})
	}
	all.Wait()
	if waits(p) != 0 {
		t.Errorf("%d wait", waits(p))
	}
}
