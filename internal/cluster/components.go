package cluster

import (
	"fmt"
	"os"
	"path/filepath"

	"redoubt.dev/redoubt/internal/cluster/supervise"
	"redoubt.dev/redoubt/internal/microvm/template"
)

// noProxy keeps Kubernetes' own traffic off a proxy that is set for
// downloads; containerd, which downloads, keeps it.
var noProxy = []string{"HTTP_PROXY=", "HTTPS_PROXY=", "ALL_PROXY=", "http_proxy=", "https_proxy=", "all_proxy="}

// thrifty trades a little processor time for a quarter of a Go program's
// memory: most of an idle control plane's heap is garbage waiting.
var thrifty = append([]string{"GOGC=50"}, noProxy...)

func (b *boot) etcd() supervise.Spec {
	const peer = "https://127.0.0.1:2380"
	return b.spec("etcd", thrifty,
		"--name=redoubt",
		"--data-dir="+b.inst.Data("etcd"),
		"--listen-client-urls="+etcdClients, "--advertise-client-urls="+etcdClients,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer,
		"--initial-cluster=redoubt="+peer,
		"--client-cert-auth", "--trusted-ca-file="+b.pki("etcd", "ca.crt"),
		"--cert-file="+b.pki("etcd", "server.crt"), "--key-file="+b.pki("etcd", "server.key"),
		"--peer-client-cert-auth", "--peer-trusted-ca-file="+b.pki("etcd", "ca.crt"),
		"--peer-cert-file="+b.pki("etcd", "server.crt"), "--peer-key-file="+b.pki("etcd", "server.key"),
		// Four times the default: while it is full, nobody writes anything (see keepStore).
		"--quota-backend-bytes=8589934592",
		// Entries of the log that followers might ask for stay in memory; there are none.
		"--snapshot-count=1000", "--snapshot-catchup-entries=100",
	)
}

func (b *boot) apiServer() supervise.Spec {
	return b.spec("kube-apiserver", thrifty, append(b.auditFlags(),
		"--etcd-servers="+etcdClients,
		"--etcd-cafile="+b.pki("etcd", "ca.crt"),
		"--etcd-certfile="+b.pki("etcd", "kube-apiserver.crt"), "--etcd-keyfile="+b.pki("etcd", "kube-apiserver.key"),
		fmt.Sprintf("--secure-port=%d", apiServerPort),
		"--advertise-address="+b.link.NodeIP.String(),
		"--tls-cert-file="+b.pki("cluster", "kube-apiserver.crt"), "--tls-private-key-file="+b.pki("cluster", "kube-apiserver.key"),
		"--client-ca-file="+b.pki("cluster", "ca.crt"),
		"--kubelet-certificate-authority="+b.pki("cluster", "ca.crt"),
		"--kubelet-client-certificate="+b.pki("cluster", "kubelet-client.crt"), "--kubelet-client-key="+b.pki("cluster", "kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc."+clusterDomain,
		"--service-account-key-file="+b.pki("service-account.key.pub"),
		"--service-account-signing-key-file="+b.pki("service-account.key"),
		"--service-cluster-ip-range="+b.opts.ServiceRange.String(),
		"--service-account-extend-token-expiration=false",
		"--authentication-config="+b.config("authentication.json"),
		"--encryption-provider-config="+b.config("encryption.json"),
		"--tls-cipher-suites="+ciphers,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--requestheader-client-ca-file="+b.pki("front-proxy", "ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file="+b.pki("front-proxy", "client.crt"), "--proxy-client-key-file="+b.pki("front-proxy", "client.key"),
		"--enable-aggregator-routing",
		"--allow-privileged",
		"--profiling=false",
	)...)
}

func (b *boot) controllerManager() supervise.Spec {
	return b.spec("kube-controller-manager", thrifty, append(b.asUser("kube-controller-manager"),
		"--bind-address=127.0.0.1",
		"--cluster-signing-cert-file="+b.pki("cluster", "ca.crt"), "--cluster-signing-key-file="+b.pki("cluster", "ca.key"),
		"--root-ca-file="+b.pki("cluster", "ca.crt"),
		"--service-account-private-key-file="+b.pki("service-account.key"),
		"--use-service-account-credentials",
		"--terminated-pod-gc-threshold=1000",
		"--leader-elect=false",
		"--profiling=false",
	)...)
}

func (b *boot) scheduler() supervise.Spec {
	return b.spec("kube-scheduler", thrifty, append(b.asUser("kube-scheduler"),
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--profiling=false",
	)...)
}

func (b *boot) containerd() supervise.Spec {
	// Shims have containerd's environment: what they keep goes with the data.
	return b.spec("containerd", []string{template.FolderVariable + "=" + b.inst.Data("microvm")}, "--config="+b.config("containerd.toml"))
}

// kubelet runs with a home of its own: it lends the registry credentials that
// it finds at home to every pod, and those in root's are root's.
func (b *boot) kubelet() supervise.Spec {
	return b.spec("kubelet", append([]string{"HOME=" + b.inst.Data("kubelet")}, thrifty...),
		"--config="+b.config("kubelet.json"),
		"--kubeconfig="+b.kubeconfig("kubelet"),
		"--hostname-override="+b.inst.NodeName(),
		"--node-ip="+b.link.NodeIP.String(),
		"--root-dir="+b.inst.Data("kubelet"),
		"--cert-dir="+b.inst.Data("kubelet", "pki"),
	)
}

func (b *boot) proxy() supervise.Spec {
	return b.spec("kube-proxy", thrifty, "--config="+b.config("kube-proxy.json"))
}

func (b *boot) coreDNS() supervise.Spec {
	return b.spec("coredns", thrifty, "-conf="+b.config("Corefile"))
}

func (b *boot) metricsServer() supervise.Spec {
	return b.spec("metrics-server", thrifty, append(b.asUser("metrics-server"),
		"--bind-address="+b.link.NodeIP.String(),
		fmt.Sprintf("--secure-port=%d", metricsServerPort),
		"--tls-cert-file="+b.pki("cluster", "metrics-server-serving.crt"),
		"--tls-private-key-file="+b.pki("cluster", "metrics-server-serving.key"),
		"--kubelet-certificate-authority="+b.pki("cluster", "ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
		// As its own manifests ask. It shows nothing of a pod until it has
		// seen each container twice.
		"--metric-resolution=15s",
		"--profiling=false",
	)...)
}

// asUser lets a program identify itself, and ask the API server who its own
// callers are.
func (b *boot) asUser(name string) []string {
	k := b.kubeconfig(name)
	return []string{"--kubeconfig=" + k, "--authentication-kubeconfig=" + k, "--authorization-kubeconfig=" + k}
}

func (b *boot) spec(name string, env []string, args ...string) supervise.Spec {
	return supervise.Spec{Name: name, Path: filepath.Join(b.engine, name), Args: args, Env: env}
}

// role runs one of Redoubt's own long-running parts, from this executable.
func (b *boot) role(name string, args ...string) (supervise.Spec, error) {
	self, err := os.Executable()
	if err != nil {
		return supervise.Spec{}, fmt.Errorf("find redoubt itself: %w", err)
	}
	args = append([]string{name, "--kubeconfig=" + b.kubeconfig(name)}, args...)
	return supervise.Spec{Name: name, Path: self, Args: args, Env: noProxy}, nil
}
