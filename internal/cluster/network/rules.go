package network

import (
	"fmt"
	"net/netip"
)

// insideRules masquerade what pods send out of the namespace, once for the
// whole range: a rule per pod, as the CNI plugins would add, is left behind
// by runtimes that take the pod's address away.
func insideRules(pods netip.Prefix) string {
	return fmt.Sprintf(`
add table inet redoubt
delete table inet redoubt
table inet redoubt {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname %q ip saddr %s masquerade
	}
}
`, Uplink, pods)
}

// hostRules let the instance out through the host, and keep it from the host
// itself: what listens on any of the host's addresses is not for pods.
func hostRules(id string, link Link) string {
	return fmt.Sprintf(`
add table inet %[1]s
delete table inet %[1]s
table inet %[1]s {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname != %[2]q ip saddr %[3]s masquerade
	}
	chain input {
		type filter hook input priority filter; policy accept;
		iifname %[2]q ct state established,related accept
		iifname %[2]q meta l4proto icmp accept
		iifname %[2]q reject
	}
}
`, id, hostLinkName(id), link.Prefix)
}
