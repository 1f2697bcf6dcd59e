package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// dial opens a raw connection to the gateway.
func (r *rig) dial() (net.Conn, *bufio.Reader) {
	r.Helper()
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c, bufio.NewReader(c)
}

// http2 is a client that speaks HTTP/2 without TLS from the first byte on.
func http2() *http.Client {
	t := &http.Transport{Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: t}
}

// speaksH2C names the port so that the gateway speaks HTTP/2 to instances.
func speaksH2C(rev *serving.Revision) { rev.Spec.Containers[0].Ports[0].Name = "h2c" }

func TestEventsArriveAtOnce(t *testing.T) {
	r := newRig(t)
	next := make(chan string)
	var listening atomic.Int64
	events := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		listening.Add(1)
		defer listening.Add(-1)
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case text := <-next:
				fmt.Fprintf(w, "data: %s\n\n", text)
				_ = http.NewResponseController(w).Flush()
			case <-req.Context().Done():
				return
			}
		}
	})
	r.service("events", events, nil)
	for _, client := range []*http.Client{http.DefaultClient, http2()} {
		resp, err := client.Do(r.request(http.MethodGet, "events.default", "/", eventStart(next)))
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(resp.Body)
		for _, text := range []string{"one", "two"} {
			if text == "two" {
				next <- text
			}
			if line, err := lines.ReadString('\n'); err != nil || line != "data: "+text+"\n" {
				t.Errorf("%s: %q, %v", resp.Proto, line, err)
			}
			_, _ = lines.ReadString('\n')
		}
		_ = resp.Body.Close()
		r.until("the instance knows that the client left", func() bool { return listening.Load() == 0 })
	}
}

// eventStart sends the first event as soon as somebody listens.
func eventStart(next chan<- string) io.Reader {
	go func() { next <- "one" }()
	return nil
}

func TestBodiesBothWays(t *testing.T) {
	r := newRig(t)
	echo := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("X-Length", fmt.Sprint(req.ContentLength))
		_, _ = io.Copy(w, req.Body)
	})
	r.service("echo", echo, nil)
	r.service("echo2", echo, speaksH2C)
	for _, size := range []int{0, 1, 4 << 10, 9 << 10, 200 << 10, 5 << 20} {
		data := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for _, host := range []string{"echo.default", "echo2.default"} {
			for _, client := range []*http.Client{http.DefaultClient, http2()} {
				for _, body := range []io.Reader{bytes.NewReader(data), io.MultiReader(bytes.NewReader(data))} {
					resp, err := client.Do(r.request(http.MethodPost, host, "/", body))
					if err != nil {
						t.Errorf("%d bytes to %s: %v", size, host, err)
						continue
					}
					got, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err != nil || !bytes.Equal(got, data) {
						t.Errorf("%d bytes to %s: %d came back, %v", size, host, len(got), err)
					}
				}
			}
		}
	}
}

func TestTrailers(t *testing.T) {
	r := newRig(t)
	trailers := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "got "+req.Trailer.Get("X-Client"))
	})
	r.service("sum", trailers, nil)
	r.service("sum2", trailers, speaksH2C)
	for _, host := range []string{"sum.default", "sum2.default"} {
		for _, client := range []*http.Client{http.DefaultClient, http2()} {
			req := r.request(http.MethodPost, host, "/", io.MultiReader(strings.NewReader("x")))
			req.Trailer = http.Header{"X-Client": {"hers"}}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if string(body) != "body" || resp.Trailer.Get("X-Sum") != "got hers" {
				t.Errorf("%s over %s: %q, trailers %v", host, resp.Proto, body, resp.Trailer)
			}
		}
	}
}

// shouts answers in capitals on a connection that has changed its protocol.
var shouts = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
	if req.Header.Get("Upgrade") != "websocket" {
		http.Error(w, "not asked to", http.StatusUpgradeRequired)
		return
	}
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: yes\r\n\r\nhello\n")
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, strings.ToUpper(line))
	}
})

func TestUpgrade(t *testing.T) {
	r := newRig(t)
	r.service("socket", shouts, nil)
	c, lines := r.dial()
	_, _ = io.WriteString(c, "GET /chat HTTP/1.1\r\nHost: socket.default\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nfirst\n")
	resp, err := http.ReadResponse(lines, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Sec-WebSocket-Accept") != "yes" {
		t.Fatalf("%v", resp)
	}
	for _, want := range []string{"hello\n", "FIRST\n", "SECOND\n"} {
		if want == "SECOND\n" {
			_, _ = io.WriteString(c, "second\n")
		}
		if line, err := lines.ReadString('\n'); err != nil || line != want {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
	}
	if n := r.load("socket").Active; n != 1 {
		t.Errorf("%d requests are active", n)
	}
	_ = c.Close()
	r.until("the socket is gone", func() bool { return r.load("socket").Active == 0 })
}

// What is logged of an upgraded connection is what it was asked for with,
// whatever has gone over it and others since.
func TestUpgradeIsLoggedAsItWasAsked(t *testing.T) {
	logged := make(lines, 10)
	r := newRigWith(t, Options{AccessLog: logged})
	r.service("socket", shouts, nil)
	c, answers := r.dial()
	_, _ = io.WriteString(c, "GET /chat?room=1 HTTP/1.1\r\nHost: socket.default\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp, err := http.ReadResponse(answers, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	_, _ = answers.ReadString('\n')
	for range 20 {
		_, _ = io.WriteString(c, strings.Repeat("secret ", 30)+"\n")
		if _, err := answers.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.Close()
	select {
	case text := <-logged:
		if !strings.Contains(text, `"GET"`) || !strings.Contains(text, `"/chat?room=1"`) || !strings.Contains(text, `"socket.default"`) {
			t.Errorf("logged: %s", text)
		}
	case <-time.After(20 * time.Second):
		t.Error("nothing was logged")
	}
}

// lines takes what is logged.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// Nor where the connection is the other server's, which has it from the first
// request for an instance that speaks HTTP/2 on.
func TestUpgradeToHTTP2IsNotPassedOn(t *testing.T) {
	r := newRig(t)
	headers := make(chan http.Header, 1)
	look := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { headers <- req.Header })
	r.service("plain", look, nil)
	r.service("plain2", look, speaksH2C)
	c, lines := r.dial()
	for _, host := range []string{"plain", "plain2", "plain"} {
		for _, upgrade := range []string{"h2c", "H2C", "h2c, websocket"} {
			fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s.default\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n", host, upgrade)
			resp, err := http.ReadResponse(lines, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
				t.Fatalf("%s, %s: %s %s", host, upgrade, resp.Status, body)
			}
			if got := <-headers; got.Get("Upgrade") != "" || got.Get("Http2-Settings") != "" || got.Get("Connection") != "" {
				t.Errorf("%s, %s: the instance got %v", host, upgrade, got)
			}
		}
	}
}

func TestGRPC(t *testing.T) {
	r := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, checks := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, checks)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	r.revision("grpc", l.Addr().(*net.TCPAddr).Port, speaksH2C)
	r.pod("grpc", "127.0.0.1")

	conn, err := grpc.NewClient(r.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("grpc.default.localhost"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if resp, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || resp.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("unary: %v, %v", resp, err)
	}
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "unknown"}); status.Code(err) != codes.NotFound {
		t.Errorf("the status in the trailers was lost: %v", err)
	}
	watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
		if want == healthpb.HealthCheckResponse_NOT_SERVING {
			checks.SetServingStatus("", want)
		}
		if resp, err := watch.Recv(); err != nil || resp.Status != want {
			t.Fatalf("stream: %v, %v", resp, err)
		}
	}
}

func TestProtocolOfTheInstance(t *testing.T) {
	r := newRig(t)
	tells := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { _, _ = io.WriteString(w, req.Proto) })
	r.service("one", tells, nil)
	r.service("two", tells, speaksH2C)
	for _, client := range []*http.Client{http.DefaultClient, http2()} {
		for host, want := range map[string]string{"one.default": "HTTP/1.1", "two.default": "HTTP/2.0"} {
			resp, err := client.Do(r.request(http.MethodGet, host, "/", nil))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if string(body) != want {
				t.Errorf("%s: the instance saw %s", host, body)
			}
		}
	}
}

func TestHeadersOfTheGateway(t *testing.T) {
	r := newRig(t)
	headers := make(chan *http.Request, 1)
	r.service("look", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { headers <- req }), nil)
	r.service("look2", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { headers <- req }), speaksH2C)
	for _, host := range []string{"look.default:8080", "look2.default:8080"} {
		for _, client := range []*http.Client{http.DefaultClient, http2()} {
			req := r.request(http.MethodGet, host, "/a%2Fb?c=%20d", nil)
			req.Header.Set("X-Forwarded-For", "192.0.2.1")
			req.Header.Set("X-Forwarded-Proto", "https")
			req.Header.Set("X-Mine", "kept")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			got := <-headers
			for name, want := range map[string]string{
				"X-Forwarded-For": "192.0.2.1, 127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": host,
				"Forwarded": `for=127.0.0.1;host="` + host + `";proto=http`, "X-Mine": "kept",
			} {
				if strings.Join(got.Header.Values(name), " | ") != want {
					t.Errorf("%s: %v, want %q", name, got.Header.Values(name), want)
				}
			}
			if got.Host != host || got.URL.RequestURI() != "/a%2Fb?c=%20d" {
				t.Errorf("host %q, target %q", got.Host, got.URL.RequestURI())
			}
			if trace := got.Header.Get("Traceparent"); len(trace) != 55 || !strings.HasPrefix(trace, "00-") {
				t.Errorf("trace %q", trace)
			}
		}
	}
}
