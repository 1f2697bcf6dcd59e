package cluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	_ "embed"

	"golang.org/x/sys/unix"
)

const (
	clusterDomain = "cluster.local"
	// publicDomain ends the names of services outside: every browser and most
	// resolvers take it for this machine (RFC 6761, section 6.3).
	publicDomain  = "localhost"
	apiServerPort = 6443
	// dnsIndex is the place of the DNS service in the service range, as
	// kubeadm has it.
	dnsIndex = 10
	// PauseImage holds each runc pod's namespaces open.
	PauseImage = "localhost/redoubt/pause:latest"
)

//go:embed containerd.toml
var containerdTemplate string

// writeConfig writes every program's configuration.
func (b *boot) writeConfig() error {
	for _, f := range []func() error{
		b.writeAuthentication, b.writeEncryption, b.writeAudit, b.writeKubelet, b.writeProxy, b.writeContainerd, b.writeGVisor, b.writeCNI, b.writeResolver, b.writeCorefile,
	} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// nriSocket is the instance's own: containerd's default is one for all.
func (b *boot) nriSocket() string { return b.inst.Run("nri.sock") }

func (b *boot) config(name string) string { return b.inst.Data("config", name) }

// writeAuthentication lets nobody ask anything anonymously but whether the
// API server is well.
func (b *boot) writeAuthentication() error {
	return b.writeJSON("authentication.json", map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1",
		"kind":       "AuthenticationConfiguration",
		"anonymous": map[string]any{
			"enabled":    true,
			"conditions": []map[string]string{{"path": "/livez"}, {"path": "/readyz"}, {"path": "/healthz"}},
		},
	})
}

// fullDisk is how much of a disk, or of its files, is free when the kubelet starts
// to evict pods.
const fullDisk = "5%"

func (b *boot) writeKubelet() error {
	return b.writeJSON("kubelet.json", map[string]any{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"address":                  b.link.NodeIP.String(),
		"healthzBindAddress":       "127.0.0.1",
		"readOnlyPort":             0,
		"tlsCertFile":              b.pki("cluster", "kubelet-serving.crt"),
		"tlsPrivateKeyFile":        b.pki("cluster", "kubelet-serving.key"),
		"authentication":           map[string]any{"anonymous": map[string]any{"enabled": false}, "webhook": map[string]any{"enabled": true}, "x509": map[string]any{"clientCAFile": b.pki("cluster", "ca.crt")}},
		"authorization":            map[string]any{"mode": "Webhook"},
		"containerRuntimeEndpoint": "unix://" + b.inst.ContainerdSocket(),
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               "/" + b.inst.ID(),
		"failCgroupV1":             false,
		"failSwapOn":               false,
		"oomScoreAdj":              b.kubeletOOMScore(),
		"seccompDefault":           true,
		"clusterDNS":               []string{nth(b.opts.ServiceRange, dnsIndex).String()},
		"clusterDomain":            clusterDomain,
		"resolvConf":               b.config("resolv.conf"),
		"podLogsDir":               b.inst.Data("logs", "pods"),
		"volumePluginDir":          b.inst.Data("kubelet", "volume-plugins"),
		"serializeImagePulls":      false,
		// Somebody's own machine has a fuller disk than a cluster's node: the
		// defaults, 15 % for images, would evict pods from one that works.
		"evictionHard": map[string]string{
			"memory.available": "100Mi", "nodefs.available": fullDisk, "imagefs.available": fullDisk,
			"nodefs.inodesFree": fullDisk, "imagefs.inodesFree": fullDisk,
		},
		"imageGCHighThresholdPercent": 95,
		"imageGCLowThresholdPercent":  90,
		"maxPods":                     1000,
		"podPidsLimit":                4096,
		"tlsCipherSuites":             strings.Split(ciphers, ","),
		"enableProfilingHandler":      false,
		"eventRecordQPS":              0,
		"registryPullQPS":             0,
	})
}

func (b *boot) writeProxy() error {
	return b.writeJSON("kube-proxy.json", map[string]any{
		"apiVersion":         "kubeproxy.config.k8s.io/v1alpha1",
		"kind":               "KubeProxyConfiguration",
		"mode":               "nftables",
		"clientConnection":   map[string]any{"kubeconfig": b.kubeconfig("kube-proxy")},
		"clusterCIDR":        b.opts.PodRange.String(),
		"detectLocalMode":    "ClusterCIDR",
		"hostnameOverride":   b.inst.NodeName(),
		"healthzBindAddress": "127.0.0.1:10256",
		"metricsBindAddress": "127.0.0.1:10249",
		// The size of the connection table is the machine's, not a namespace's.
		"conntrack": map[string]any{"maxPerCore": 0, "min": 0},
	})
}

func (b *boot) writeContainerd() error {
	t, err := template.New("containerd.toml").Parse(containerdTemplate)
	if err != nil {
		return fmt.Errorf("containerd's configuration: %w", err)
	}
	var text strings.Builder
	err = t.Execute(&text, map[string]any{
		"Root":           b.inst.Data("containerd"),
		"State":          b.inst.Run("containerd"),
		"Socket":         b.inst.ContainerdSocket(),
		"NRISocket":      b.nriSocket(),
		"Guarded":        !b.opts.Bare,
		"Config":         b.inst.Data("config"),
		"Registries":     b.inst.Data("registries"),
		"Engine":         b.engine,
		"CNI":            b.inst.Data("cni"),
		"PauseImage":     PauseImage,
		"RestrictOOM":    !hasCapability(unix.CAP_SYS_RESOURCE),
		"NoAppArmor":     !exists("/sys/kernel/security/apparmor"),
		"SELinux":        exists("/sys/fs/selinux/enforce"),
		"GVisorSettings": b.config("runsc.toml"),
		"MicroVM":        microVM(),
	})
	if err != nil {
		return fmt.Errorf("containerd's configuration: %w", err)
	}
	return writeFile(b.config("containerd.toml"), []byte(text.String()))
}

//go:embed runsc.toml
var runscTemplate string

func (b *boot) writeGVisor() error {
	text := strings.NewReplacer("{{.Engine}}", b.engine, "{{.Root}}", b.inst.Run("runsc")).Replace(runscTemplate)
	return writeFile(b.config("runsc.toml"), []byte(text))
}

// writeCNI gives each pod a link of its own to the node ("ptp"): pods share
// no segment on which one could answer for another, and all of their traffic
// passes the node's rules.
func (b *boot) writeCNI() error {
	conf := map[string]any{
		"cniVersion": "1.0.0",
		"name":       "redoubt",
		"plugins": []map[string]any{
			{
				"type": "ptp",
				"mtu":  b.link.MTU,
				"ipam": map[string]any{
					"type":    "host-local",
					"dataDir": b.inst.Run("addresses"),
					"ranges":  [][]map[string]any{{{"subnet": b.opts.PodRange.String()}}},
					"routes":  []map[string]any{{"dst": "0.0.0.0/0"}},
				},
			},
			{"type": "portmap", "backend": "nftables", "capabilities": map[string]any{"portMappings": true}},
		},
	}
	data, err := json.MarshalIndent(conf, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(b.inst.Data("cni", "10-redoubt.conflist"), data)
}

// writeResolver writes the resolv.conf that pods with host DNS and CoreDNS
// use. The host's loopback resolvers are not reachable from the namespace.
func (b *boot) writeResolver() error {
	var text strings.Builder
	for _, server := range hostResolvers() {
		fmt.Fprintf(&text, "nameserver %s\n", server)
	}
	return writeFile(b.config("resolv.conf"), []byte(text.String()))
}

func (b *boot) writeCorefile() error {
	var forward string
	if len(hostResolvers()) > 0 {
		forward = fmt.Sprintf("    forward . %s\n", b.config("resolv.conf"))
	}
	corefile := fmt.Sprintf(`.:53 {
    bind %s
    errors
    health 127.0.0.1:9154
    ready 127.0.0.1:9155
    prometheus 127.0.0.1:9153
    kubernetes %s in-addr.arpa {
        kubeconfig %s
        pods verified
        ttl 5
    }
    cache 30
    loadbalance
%s}
`, b.link.NodeIP, clusterDomain, b.kubeconfig("coredns"), forward)
	return writeFile(b.config("Corefile"), []byte(corefile))
}

func (b *boot) writeJSON(name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return writeFile(b.config(name), data)
}

// kubeletOOMScore protects the kubelet from the kernel's memory killer where
// this process may ask for that.
func (b *boot) kubeletOOMScore() int {
	if hasCapability(unix.CAP_SYS_RESOURCE) {
		return -999
	}
	return 0
}

func hasCapability(c uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[c/32].Effective&(1<<(c%32)) != 0
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// hostResolvers lists the host's name servers that are reachable from outside
// the host: systemd-resolved's real ones instead of its loopback stub.
func hostResolvers() []netip.Addr {
	for _, file := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		if servers := readResolvers(file); len(servers) > 0 {
			return servers
		}
	}
	return nil
}

func readResolvers(file string) []netip.Addr {
	f, err := os.Open(filepath.Clean(file))
	if err != nil {
		return nil
	}
	defer f.Close()
	var servers []netip.Addr
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil && !a.IsLoopback() && !isOwn(a) {
			servers = append(servers, a)
		}
	}
	return servers
}

// isOwn says whether a is an address of this machine.
func isOwn(a netip.Addr) bool {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, o := range own {
		if n, ok := o.(*net.IPNet); ok && n.IP.Equal(toIP(a)) {
			return true
		}
	}
	return false
}
