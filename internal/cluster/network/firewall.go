package network

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// letThrough has the host's firewall let pass what arrives on a link for where the
// host's default routes lead, and the answers. Docker and ufw have iptables drop
// all that is forwarded and that they do not know of, and no table of our own can
// accept what another one drops. The rules come last, so that whatever the firewall
// says itself goes before.
func letThrough(ctx context.Context, link string) error {
	rules := forwardRules(ctx)
	if !strings.HasPrefix(rules, "-P FORWARD DROP") {
		return nil
	}
	uplinks, err := uplinks()
	if err != nil {
		return err
	}
	wanted := []string{"FORWARD -o " + link + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"}
	for _, uplink := range uplinks {
		wanted = append(wanted, "FORWARD -i "+link+" -o "+uplink.Attrs().Name+" -j ACCEPT")
	}
	if !slices.ContainsFunc(wanted, func(rule string) bool { return !strings.Contains(rules, "-A "+rule+"\n") }) {
		return nil
	}
	if err := forget(ctx, link); err != nil {
		return err
	}
	for _, rule := range wanted {
		if _, err := iptables(ctx, append([]string{"-A"}, strings.Fields(rule)...)...); err != nil {
			return err
		}
	}
	return nil
}

// forget takes away what letThrough has added for the link, in any boot.
func forget(ctx context.Context, link string) error {
	for rule := range strings.Lines(forwardRules(ctx)) {
		words := strings.Fields(rule)
		if len(words) < 4 || words[0] != "-A" || words[2] != "-i" && words[2] != "-o" || words[3] != link {
			continue
		}
		words[0] = "-D"
		if _, err := iptables(ctx, words...); err != nil {
			return err
		}
	}
	return nil
}

// forwardRules are those of iptables for what is forwarded, after the line of
// their policy. There are none where the host has no iptables, or its kernel no
// tables for it.
func forwardRules(ctx context.Context) string {
	rules, _ := iptables(ctx, "-S", "FORWARD")
	return rules
}

// iptables runs the program that the firewall uses itself: it reads no rules
// but its own in its chains.
func iptables(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "iptables", append([]string{"--wait"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("iptables %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// uplinks are the links that default routes lead to.
func uplinks() ([]netlink.Link, error) {
	routes, err := netlink.RouteList(nil, nl.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var links []netlink.Link
	for _, r := range routes {
		if p, ok := toPrefix(r.Dst); ok && p.Bits() > 0 {
			continue
		}
		if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			links = append(links, l)
		}
	}
	return links, nil
}
