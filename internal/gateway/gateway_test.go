package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// rig is a gateway on loopback whose cluster is what the test says: the
// instances are real servers on addresses of 127.0.0.0/8.
type rig struct {
	*testing.T
	sink    sink
	gateway *gateway
	address string
	stop    context.CancelFunc
	ended   chan error
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigWith(t, Options{})
}

func newRigWith(t *testing.T, opts Options) *rig {
	t.Helper()
	opts.Name, opts.Domain, opts.ClusterDomain, opts.Drain = "test", "localhost", "cluster.local", 5*time.Second
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGateway(nil, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &rig{T: t, gateway: g, sink: sink{g.table, g.clients, g.quotas, g.tracker, g.secrets}, address: l.Addr().String(), stop: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- g.serve(ctx, []listener{{l, true}}) }()
	t.Cleanup(func() {
		cancel()
		<-r.ended
		r.ended <- nil
		g.close()
	})
	return r
}

// revision makes one, with a route of the same name to it.
func (r *rig) revision(name string, port int, change func(*serving.Revision)) {
	r.Helper()
	rev := &serving.Revision{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name)}}
	rev.Spec.Containers = []serving.Container{{Ports: []serving.ContainerPort{{ContainerPort: int32(port)}}}}
	if change != nil {
		change(rev)
	}
	r.sink.SetRevision(rev)
	r.route(name, serving.TrafficTarget{RevisionName: name, Percent: percent(100)})
}

func (r *rig) route(name string, traffic ...serving.TrafficTarget) {
	route := &serving.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	route.Status.Traffic = traffic
	r.sink.SetRoute(route)
}

func percent(n int64) *int64 { return &n }

// pod makes an instance of a revision at an address.
func (r *rig) pod(revision, ip string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: revision + "-" + ip, UID: types.UID(revision + ip),
		Labels: map[string]string{serving.RevisionLabel: revision, serving.RevisionUIDLabel: "uid-" + revision},
	}}
	p.Status.PodIP, p.Status.HostIP = ip, "127.0.0.1"
	r.sink.SetPod(p)
	return p
}

// backend serves on ip; port 0 is any.
func backend(t *testing.T, ip string, port int, h http.Handler) int {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", ip, port))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close()
	s.Listener = l
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return l.Addr().(*net.TCPAddr).Port
}

// says answers every request with a text.
func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

// service is a revision with one instance that is ready.
func (r *rig) service(name string, h http.Handler, change func(*serving.Revision)) {
	r.Helper()
	port := backend(r.T, "127.0.0.1", 0, h)
	r.revision(name, port, change)
	r.pod(name, "127.0.0.1")
}

func (r *rig) request(method, host, path string, body io.Reader) *http.Request {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, "http://"+r.address+path, body)
	if err != nil {
		r.Fatal(err)
	}
	req.Host = host
	return req
}

// get returns the status and the body of an answer.
func (r *rig) get(host string) (int, string) {
	r.Helper()
	return r.do(r.request(http.MethodGet, host, "/", nil))
}

func (r *rig) do(req *http.Request) (int, string) {
	r.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Errorf("%s %s: %v", req.Method, req.Host, err)
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Errorf("%s %s: read body: %v", req.Method, req.Host, err)
	}
	return resp.StatusCode, string(body)
}

// expect fails unless the answer is as given.
func (r *rig) expect(host string, status int, body string) {
	r.Helper()
	if s, b := r.get(host); s != status || b != body {
		r.Errorf("%s: got %d %q, want %d %q", host, s, b, status, body)
	}
}
