package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A group is frozen when the one above it is told to freeze.
func TestFrozen(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making a control group needs root")
	}
	pod := fmt.Sprintf("redoubt-test-frozen-%d", os.Getpid())
	name := filepath.Join(pod, "machine")
	control, freeze, thaw := "", "", ""
	for _, dir := range []string{"/sys/fs/cgroup/freezer", "/sys/fs/cgroup"} {
		if _, err := os.Stat(dir); err != nil {
			continue // on version 2 a folder of that name would be one more group
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(path); _ = os.Remove(filepath.Dir(path)) })
		control, freeze, thaw = filepath.Join(dir, pod, "freezer.state"), "FROZEN", "THAWED"
		if _, err := os.Stat(control); err != nil {
			control, freeze, thaw = filepath.Join(dir, pod, "cgroup.freeze"), "1", "0"
		}
		break
	}
	for _, want := range []bool{false, true, false} {
		value := thaw
		if want {
			value = freeze
		}
		if err := os.WriteFile(control, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); (Group{path: name}).Frozen() != want; time.Sleep(time.Millisecond) {
			if time.Since(begin) > time.Minute {
				t.Fatalf("frozen: %v after %q", !want, value)
			}
		}
	}
	if (Group{}).Frozen() || (Group{path: "no-such-group"}).Frozen() {
		t.Error("a group that is not there is frozen")
	}
}
