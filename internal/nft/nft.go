// Package nft applies rulesets with the program nft, in the network namespace
// of the calling thread.
package nft

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Apply applies a script in one transaction: all of it, or nothing.
func Apply(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		const enough = 500
		why := strings.TrimSpace(stderr.String())
		return fmt.Errorf("nft: %w: %s (is the package nftables installed?)", err, why[:min(len(why), enough)])
	}
	return nil
}

// List is a table of the family inet as the kernel lists it, without what its
// rules have counted; it is empty where the namespace has no such table.
func List(ctx context.Context, name string) string {
	out, _ := exec.CommandContext(ctx, "nft", "--stateless", "list", "table", "inet", name).Output()
	return string(out)
}
