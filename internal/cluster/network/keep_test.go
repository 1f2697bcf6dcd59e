package network

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/nft"
)

// Whatever a firewall of the host does to all rules, those of an instance come
// back, as long as it runs.
func TestRulesComeBack(t *testing.T) {
	host := namespace(t, "host")
	id := fmt.Sprintf("redoubt-test-keep-%d", os.Getpid())
	run := func(program string, args ...string) (out string) {
		t.Helper()
		err := netns.Do(host, func() error {
			all, err := exec.Command(program, args...).CombinedOutput()
			out = string(all)
			return err
		})
		if err != nil {
			t.Fatalf("%s %v: %v: %s", program, args, err, out)
		}
		return out
	}
	run("iptables", "-P", "FORWARD", "DROP")
	var link Link
	if err := netns.Do(host, func() (err error) { link, err = Setup(id, nsOf(id), pods); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netns.Do(host, func() error { return Teardown(id, nsOf(id)) }); err != nil {
			t.Error(err)
		}
	})
	whole := run("nft", "list", "table", "inet", id)
	passes := "-A FORWARD -o " + hostLinkName(id)
	changes := map[string][]string{
		"all tables are gone":      {"nft", "flush", "ruleset"},
		"a chain is gone":          {"nft", "delete", "chain", "inet", id, "input"},
		"a rule is added":          {"nft", "insert", "rule", "inet", id, "input", "accept"},
		"the firewall's are empty": {"iptables", "-F", "FORWARD"},
	}
	damaged := func() string {
		var missing []string
		if err := netns.Do(host, func() error {
			if nft.List(t.Context(), id) != whole {
				missing = append(missing, "the table is another")
			}
			// After "flush ruleset" the firewall has no policy either.
			if rules := forwardRules(t.Context()); strings.HasPrefix(rules, "-P FORWARD DROP") && !strings.Contains(rules, passes) {
				missing = append(missing, "the firewall lets no answers in")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return strings.Join(missing, ", ")
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			run("iptables", "-P", "FORWARD", "DROP")
			run(change[0], change[1:]...)
			// The control: nobody looks after them yet.
			if damaged() == "" {
				t.Fatal("the change does no damage")
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- netns.Do(host, func() error { return Keep(ctx, id, link) }) }()
			defer func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}()
			await(t, damaged)
			run(change[0], change[1:]...)
			await(t, damaged)
		})
	}
}

// await waits until nothing is wrong any more.
func await(t *testing.T, wrong func() string) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		what := wrong()
		if what == "" {
			return
		}
		if time.Now().After(limit) {
			t.Fatal(what)
		}
	}
}
