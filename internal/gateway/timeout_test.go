package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// sleeps waits for as long as the query says, and after the first byte for as
// long again when asked to.
var sleeps = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
	nap := func(name string) {
		d, _ := time.ParseDuration(req.FormValue(name))
		select {
		case <-time.After(d):
		case <-req.Context().Done():
		}
	}
	nap("first")
	_, _ = io.WriteString(w, "begun ")
	_ = http.NewResponseController(w).Flush()
	nap("then")
	_, _ = io.WriteString(w, "done")
})

func TestTimeoutUntilTheAnswerBegins(t *testing.T) {
	r := newRig(t)
	for name, change := range map[string]func(*serving.Revision){
		"one": nil, "two": speaksH2C,
	} {
		r.service(name, sleeps, func(rev *serving.Revision) {
			rev.Spec.TimeoutSeconds = 1
			if change != nil {
				change(rev)
			}
		})
	}
	var clients sync.WaitGroup
	for _, host := range []string{"one.default", "two.default"} {
		clients.Go(func() {
			if status, body := r.do(r.request(http.MethodGet, host, "/?first=10s", nil)); status != http.StatusGatewayTimeout || !strings.Contains(body, "did not begin to answer") {
				t.Errorf("%s: %d %q", host, status, body)
			}
		})
		clients.Go(func() {
			if status, body := r.do(r.request(http.MethodGet, host, "/?then=1500ms", nil)); status != http.StatusOK || body != "begun done" {
				t.Errorf("%s: an answer that has begun: %d %q", host, status, body)
			}
		})
	}
	clients.Wait()
}

func TestIdleTimeout(t *testing.T) {
	r := newRig(t)
	for name, change := range map[string]func(*serving.Revision){"one": nil, "two": speaksH2C} {
		r.service(name, sleeps, func(rev *serving.Revision) {
			rev.Spec.IdleTimeoutSeconds = 1
			if change != nil {
				change(rev)
			}
		})
	}
	for _, host := range []string{"one.default", "two.default"} {
		resp, err := http.DefaultClient.Do(r.request(http.MethodGet, host, "/?then=10s", nil))
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: the answer ended well: %q", host, body)
		}
		_ = resp.Body.Close()
	}
}

// Where a connection changes its protocol that the other server has, what passes
// counts as on any other.
func TestUpgradeThatIsHandedOverIsNotIdle(t *testing.T) {
	logged := make(lines, 10)
	r := newRigWith(t, Options{AccessLog: logged})
	r.service("socket", shouts, func(rev *serving.Revision) { rev.Spec.IdleTimeoutSeconds = 1 })
	r.service("two", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), speaksH2C)
	c, answers := r.dial()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: two.default\r\n\r\n")
	resp, err := http.ReadResponse(answers, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	<-logged
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: socket.default\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp, err := http.ReadResponse(answers, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	_, _ = answers.ReadString('\n')
	passed := 0
	for begin := time.Now(); time.Since(begin) < 2*time.Second; time.Sleep(100 * time.Millisecond) {
		passed += len("x\n")
		_, _ = io.WriteString(c, "x\n")
		if line, err := answers.ReadString('\n'); err != nil || line != "X\n" {
			t.Fatalf("after %v: %q, %v", time.Since(begin), line, err)
		}
	}
	if _, err := answers.ReadString('\n'); err == nil {
		t.Error("a line without being asked for")
	}
	if text, want := <-logged, `"status":101`; !strings.Contains(text, want) || !strings.Contains(text, fmt.Sprintf(`"received":%d,`, passed)) {
		t.Errorf("logged %s; want %s and %d bytes received", text, want, passed)
	}
}

func TestWaitsForAnInstanceNoLongerThanTheTimeout(t *testing.T) {
	r := newRig(t)
	r.revision("never", 1, func(rev *serving.Revision) { rev.Spec.TimeoutSeconds = 1 })
	if status, body := r.get("never.default"); status != http.StatusGatewayTimeout || !strings.Contains(body, "no free instance within 1s") {
		t.Errorf("%d %q", status, body)
	}
}

func TestClientThatLeavesEndsItsRequest(t *testing.T) {
	r := newRig(t)
	left := make(chan struct{})
	r.service("deaf", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		<-req.Context().Done()
		close(left)
	}), nil)
	c, _ := r.dial()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: deaf.default\r\n\r\n")
	r.until("the instance has it", func() bool { return r.load("deaf").Active == 1 })
	_ = c.Close()
	<-left
	r.until("it is over", func() bool { return r.load("deaf").Active == 0 })
}

// TestFaultyInstances answers what is no HTTP, or less than it promised.
func TestFaultyInstances(t *testing.T) {
	r := newRig(t)
	for name, answer := range map[string]string{
		"empty":   "",
		"garbage": "hello\r\n\r\n",
		"both":    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"cut":     "HTTP/1.1 200 OK\r\nContent-",
		"switch":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
		"endless": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 80<<10),
	} {
		r.raw(name, answer, nil)
		if status, body := r.get(name + ".default"); status != http.StatusBadGateway {
			t.Errorf("%s: %d %q", name, status, body)
		}
	}
	r.raw("short", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", nil)
	resp, err := http.DefaultClient.Do(r.request(http.MethodGet, "short.default", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("half an answer ended well: %q", body)
	}
	r.raw("old", "HTTP/1.0 200 OK\r\n\r\nuntil the end", nil)
	r.expect("old.default", http.StatusOK, "until the end")
}

// TestLinesOfAnInstance end as HTTP wants them when they reach the client.
func TestLinesOfAnInstance(t *testing.T) {
	r := newRig(t)
	r.raw("cgi", "HTTP/1.1 200 OK\r\nX: y\nContent-Length: 5\n\nhello", nil)
	c, answers := r.dial()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: cgi.default\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	const want = "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 5\r\n\r\nhello"
	got := make([]byte, len(want))
	if n, err := io.ReadFull(answers, got); err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got[:n], err, want)
	}
}

// raw is a service that sends the same bytes to whoever connects and sends
// something, and counts the requests.
func (r *rig) raw(name, answer string, requests *atomic.Int64) {
	r.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if n, _ := c.Read(make([]byte, 8<<10)); n > 0 {
					if requests != nil {
						requests.Add(1)
					}
					_, _ = io.WriteString(c, answer)
				}
			}()
		}
	}()
	r.revision(name, l.Addr().(*net.TCPAddr).Port, nil)
	r.pod(name, "127.0.0.1")
}

func TestRepeatsOnlyWhatIsSafe(t *testing.T) {
	r := newRig(t)
	for method, want := range map[string]int64{http.MethodGet: 3, http.MethodPost: 1} {
		var requests atomic.Int64
		r.raw("drops"+strings.ToLower(method), "", &requests)
		status, _ := r.do(r.request(method, "drops"+strings.ToLower(method)+".default", "/", nil))
		if status != http.StatusBadGateway || requests.Load() != want {
			t.Errorf("%s: %d, sent %d times, want %d", method, status, requests.Load(), want)
		}
	}
}
