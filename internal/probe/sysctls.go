package probe

import (
	"os"
	"path/filepath"
	"strings"
)

// sysctls are the kernel's settings that Kubernetes lets every pod change.
var sysctls = []string{
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.tcp_wmem",
}

// settings says of each whether this kernel has it.
func settings() map[string]string {
	found := map[string]string{}
	for _, name := range sysctls {
		_, err := os.Stat(filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/")))
		found[name] = Works
		if err != nil {
			found[name] = "the kernel has no such setting"
		}
	}
	return found
}
