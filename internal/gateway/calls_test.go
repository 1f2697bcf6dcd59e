package gateway

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// neighbour makes a pod of another tenant, and returns a client that sends from
// its address.
func (r *rig) neighbour(tenant, address string, allowed map[string]string, second bool) *http.Client {
	r.namespaceOf(tenant, tenant, allowed)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: tenant, UID: types.UID(tenant)}}
	p.Status.PodIP = address
	r.sink.SetPod(p)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DialContext: dialer.DialContext, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!second)
	transport.Protocols.SetUnencryptedHTTP2(second)
	r.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// namespaceOf says what the tenant controller says of a namespace.
func (r *rig) namespaceOf(name, tenant string, allowed map[string]string) {
	n := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{redoubt.TenantLabel: tenant}, Annotations: map[string]string{redoubt.ResolvedAnnotation: tenant}}}
	for key, value := range allowed {
		n.Annotations[key] = value
	}
	r.sink.SetNamespace(n)
}

// TestCallsBetweenTenants: a call passes where both tenants allow it, over both
// versions of HTTP, and what a client says of itself makes no difference.
func TestCallsBetweenTenants(t *testing.T) {
	r := newRigWith(t, Options{PodRange: netip.MustParsePrefix("127.0.0.0/8")})
	r.service("shop", says("hello"), nil)
	to, from := map[string]string{redoubt.CallsToAnnotation: "acme"}, map[string]string{redoubt.CallsFromAnnotation: "rival,friend"}
	for _, test := range []struct {
		name, address string
		own, other    map[string]string
		want          int
	}{
		{"rival", "127.0.0.11", nil, nil, http.StatusForbidden},
		{"rival", "127.0.0.11", to, nil, http.StatusForbidden},
		{"rival", "127.0.0.11", nil, from, http.StatusForbidden},
		{"rival", "127.0.0.11", to, from, http.StatusOK},
		{"stranger", "127.0.0.12", to, from, http.StatusForbidden},
		{"acme", "127.0.0.13", nil, nil, http.StatusOK},
	} {
		r.namespaceOf("default", "acme", test.other)
		for _, second := range []bool{false, true} {
			client := r.neighbour(test.name, test.address, test.own, second)
			for _, path := range []string{"shop.default.svc.cluster.local", "shop.default.localhost", "shop.default"} {
				req := r.request(http.MethodGet, path, "/", nil)
				// The address of one who may.
				for _, header := range []string{"X-Forwarded-For", "X-Real-Ip", "True-Client-Ip", "X-Envoy-External-Address"} {
					req.Header.Set(header, "127.0.0.13")
				}
				req.Header.Set("Forwarded", "for=127.0.0.13")
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != test.want {
					t.Errorf("%s (%v, %v) to %s: %d %s", test.name, test.own, test.other, path, resp.StatusCode, body)
				}
				if test.want == http.StatusForbidden && !strings.Contains(string(body), `pods of the tenant "`+test.name+`" may not call services of the namespace "default"`) {
					t.Errorf("refused with %q", body)
				}
			}
		}
	}
}
