package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientapi "k8s.io/client-go/tools/clientcmd/api"

	"redoubt.dev/redoubt/internal/cluster/pki"
)

// clients are the programs that talk to the API server, each as its own user
// with the rights that Kubernetes or config/rbac gives that user.
var clients = map[string]pki.Request{
	"admin":                   {CommonName: "redoubt:admin", Organizations: []string{"system:masters"}},
	"kube-controller-manager": {CommonName: "system:kube-controller-manager"},
	"kube-scheduler":          {CommonName: "system:kube-scheduler"},
	"kube-proxy":              {CommonName: "system:kube-proxy"},
	"coredns":                 {CommonName: "redoubt:coredns"},
	"metrics-server":          {CommonName: "redoubt:metrics-server"},
	"controller":              {CommonName: "redoubt:controller"},
	"gateway":                 {CommonName: "redoubt:gateway"},
}

func (b *boot) pki(elem ...string) string {
	return b.inst.Data(append([]string{"pki"}, elem...)...)
}

// issuer makes certificates: all anew, or those that are missing or end soon.
type issuer struct {
	now  time.Time
	all  bool
	made bool // any
}

func (i *issuer) ensure(a *pki.Authority, r pki.Request) error {
	if i.all {
		i.made = true
		return a.Issue(r, i.now)
	}
	made, err := a.Ensure(r, i.now)
	i.made = i.made || made
	return err
}

// makeCertificates says whether it has made any. It needs the node's address,
// which certificates name.
func (b *boot) makeCertificates(all bool) (made bool, err error) {
	now := time.Now()
	i := &issuer{now: now, all: all}
	cluster, err := pki.NewAuthority(b.pki("cluster"), "ca", now)
	if err != nil {
		return false, err
	}
	etcd, err := pki.NewAuthority(b.pki("etcd"), "ca", now)
	if err != nil {
		return false, err
	}
	front, err := pki.NewAuthority(b.pki("front-proxy"), "ca", now)
	if err != nil {
		return false, err
	}
	// The gateway signs with this one itself, for the names of services.
	if _, err := pki.NewAuthority(b.pki("gateway"), "ca", now, publicDomain); err != nil {
		return false, err
	}
	loopback := net.IPv4(127, 0, 0, 1)
	errs := []error{
		pki.EnsureKey(b.pki("service-account.key")),
		i.ensure(etcd, pki.Request{Name: "server", CommonName: "etcd", IPs: []net.IP{loopback}}),
		i.ensure(etcd, pki.Request{Name: "kube-apiserver", CommonName: "kube-apiserver"}),
		i.ensure(front, pki.Request{Name: "client", CommonName: "front-proxy-client"}),
		i.ensure(cluster, b.apiServerCertificate()),
		i.ensure(cluster, pki.Request{Name: "kubelet-client", CommonName: "redoubt:kube-apiserver"}),
		i.ensure(cluster, pki.Request{Name: "metrics-server-serving", CommonName: "metrics-server", DNSNames: []string{"metrics-server.kube-system.svc"}}),
		i.ensure(cluster, pki.Request{Name: "kubelet-serving", CommonName: "system:node:" + b.inst.NodeName(), Organizations: []string{"system:nodes"}, DNSNames: []string{b.inst.NodeName()}, IPs: []net.IP{toIP(b.link.NodeIP)}}),
		b.makeClient(i, cluster, "kubelet", pki.Request{CommonName: "system:node:" + b.inst.NodeName(), Organizations: []string{"system:nodes"}}),
		// Its group binds it to its node.
		b.makeClient(i, cluster, "node", pki.Request{CommonName: "redoubt:node", Organizations: []string{"redoubt:node:" + b.inst.NodeName()}}),
	}
	for name, request := range clients {
		errs = append(errs, b.makeClient(i, cluster, name, request))
	}
	return i.made, errors.Join(errs...)
}

func (b *boot) apiServerCertificate() pki.Request {
	return pki.Request{
		Name:       "kube-apiserver",
		CommonName: "kube-apiserver",
		DNSNames: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc." + clusterDomain, b.inst.NodeName(),
		},
		IPs: []net.IP{net.IPv4(127, 0, 0, 1), toIP(b.link.NodeIP), toIP(nth(b.opts.ServiceRange, 1))},
	}
}

// makeClient makes a user's certificate and the kubeconfig that uses it.
func (b *boot) makeClient(i *issuer, a *pki.Authority, name string, r pki.Request) error {
	r.Name = name
	if err := i.ensure(a, r); err != nil {
		return err
	}
	server, path := fmt.Sprintf("https://127.0.0.1:%d", apiServerPort), b.kubeconfig(name)
	if name == "admin" {
		// The one that is used from the host, through the relay.
		server, path = fmt.Sprintf("https://127.0.0.1:%d", b.opts.APIPort), b.inst.Kubeconfig()
	}
	return writeKubeconfig(path, server, a.CertFile(), b.pki("cluster", name))
}

// kubeconfig is for use inside the network namespace.
func (b *boot) kubeconfig(name string) string { return b.inst.Data("config", name+".kubeconfig") }

// writeKubeconfig embeds the certificates, so that the file can be moved.
func writeKubeconfig(path, server, caFile, base string) error {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	cert, err := os.ReadFile(base + ".crt")
	if err != nil {
		return err
	}
	key, err := os.ReadFile(base + ".key")
	if err != nil {
		return err
	}
	cfg := clientapi.NewConfig()
	cfg.Clusters["redoubt"] = &clientapi.Cluster{Server: server, CertificateAuthorityData: ca}
	cfg.AuthInfos["redoubt"] = &clientapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	cfg.Contexts["redoubt"] = &clientapi.Context{Cluster: "redoubt", AuthInfo: "redoubt"}
	cfg.CurrentContext = "redoubt"
	data, err := clientcmd.Write(*cfg)
	if err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return writeFile(path, data)
}

// writeFile replaces a file of the instance in one step; its folder and
// itself are for root alone.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func toIP(a netip.Addr) net.IP { return net.IP(a.AsSlice()) }
