package test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"redoubt.dev/redoubt/test/platform"
)

// A revision is scaled by what its instances take, and says why where that
// cannot be known.
func TestScaleByUse(t *testing.T) {
	t.Parallel()
	shell(t)
	ns := namespace(t)
	heavy := service{ns: ns, name: "heavy"}
	heavy.create(t, "--scale-metric=memory", "--scale-target=1", "--scale-max=2")
	unknown := service{ns: ns, name: "unknown"}
	unknown.create(t, "--scale-metric=cpu")
	shared.Kubectl(t, "-n", ns, "exec", heavy.pods(t, "")[0].Name, "--", "dd", "if=/dev/zero", "of=/dev/shm/fill", "bs=1M", "count=8")
	platform.Eventually(t, "an instance more", func() error {
		if n := len(heavy.pods(t, "")); n != 2 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	platform.Eventually(t, "the reason", func() error {
		out := shared.Kubectl(t, "-n", ns, "events", "--for=revision/unknown-00001")
		if !strings.Contains(out, "FailedGetResourceMetric") || !strings.Contains(out, "resources.requests.cpu") {
			return fmt.Errorf("the events are %q", out)
		}
		return nil
	})
	if n := len(unknown.pods(t, "")); n != 1 {
		t.Errorf("%d instances of a revision that cannot be measured", n)
	}
}

// A pod that finds no room is given that of frozen instances, but not of one
// that has to be kept.
func TestFrozenMakeRoom(t *testing.T) {
	t.Parallel()
	shell(t)
	ns := namespace(t)
	// A resource of its own lets the test fill the node without harm to others.
	room := "redoubt.dev/" + ns
	node := shared.Kubectl(t, "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
	patch := func(op string) {
		out, err := shared.Command(context.Background(), "kubectl", "patch", "node", node, "--subresource=status", "--type=json",
			"-p", fmt.Sprintf(`[{"op": %q, "path": "/status/capacity/redoubt.dev~1%s", "value": "2"}]`, op, ns)).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	patch("add")
	t.Cleanup(func() { patch("remove") })
	platform.Eventually(t, "the node has room", func() error {
		if got := shared.Kubectl(t, "get", "node", node, "-o", `jsonpath={.status.allocatable.redoubt\.dev/`+ns+`}`); got != "2" {
			return fmt.Errorf("it has %q", got)
		}
		return nil
	})
	kept, idle := service{ns: ns, name: "kept"}, service{ns: ns, name: "idle"}
	for s, scale := range map[*service]string{&kept: "--scale-min=1", &idle: "--scale-min=0"} {
		s.create(t, scale, "--scale-window=6s", "--annotation=redoubt.dev/freeze=1s", "--limit="+room+"=1")
	}
	shared.Kubectl(t, "-n", ns, "run", "worker", "--image="+shellImage, "--image-pull-policy=Never", "--overrides",
		fmt.Sprintf(`{"spec": {"containers": [{"name": "worker", "image": %q, "imagePullPolicy": "Never", "command": ["/bin/sleep", "1000"], "resources": {"limits": {%q: "1"}}}]}}`, shellImage, room))
	platform.Eventually(t, "the pod runs", func() error {
		if phase := shared.Kubectl(t, "-n", ns, "get", "pod", "worker", "-o", "jsonpath={.status.phase}"); phase != "Running" {
			return fmt.Errorf("it is %s", phase)
		}
		return nil
	})
	platform.Eventually(t, "the idle instance is gone", func() error {
		if n := len(idle.pods(t, "")); n != 0 { // its place is free a moment before
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	if n := len(kept.pods(t, "")); n != 1 {
		t.Errorf("%d instances are kept, want 1", n)
	}
	if out := shared.Kubectl(t, "-n", ns, "events", "--for=revision/idle-00001"); !strings.Contains(out, "MadeRoom") {
		t.Errorf("the events are %q", out)
	}
}
