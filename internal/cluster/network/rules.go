package network

import (
	"fmt"
	"net/netip"
)

// insideRules masquerade what pods send out of the namespace, once for the
// whole range: a rule per pod, as the CNI plugins would add, is left behind
// by runtimes that take the pod's address away.
//
// They also lead questions for a name server on the loopback, which is the
// host's and does not answer here, to the cluster's: containerd asks what the
// host's /etc/resolv.conf names, and systemd-resolved writes 127.0.0.53 there.
func insideRules(pods netip.Prefix, node netip.Addr) string {
	return fmt.Sprintf(`
add table inet redoubt
delete table inet redoubt
table inet redoubt {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname %q ip saddr %s masquerade
	}
	chain output {
		type nat hook output priority -100; policy accept;
		ip daddr 127.0.0.0/8 udp dport 53 dnat ip to %[3]s
		ip daddr 127.0.0.0/8 tcp dport 53 dnat ip to %[3]s
	}
}
`, Uplink, pods, node)
}

// hostRules let the instance out through the host, and keep it from the host
// itself: what listens on any of the host's addresses is not for pods. Nothing
// is let in through the host but answers: the machine's neighbours and other
// instances would have a way to the gateway that nobody judges.
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
	chain forward {
		type filter hook forward priority filter; policy accept;
		oifname %[2]q ct state established,related accept
		oifname %[2]q drop
	}
}
`, id, hostLinkName(id), link.Prefix)
}
