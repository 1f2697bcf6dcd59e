// Package netnstest gives tests a network namespace.
package netnstest

import (
	"os"
	"path/filepath"
	"testing"

	"redoubt.dev/redoubt/internal/cluster/netns"
)

// Inside runs f in a network namespace of its own. It skips the test where the
// user is not root.
func Inside(t testing.TB, f func() error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	path := filepath.Join(t.TempDir(), "netns")
	if err := netns.Create(path); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Delete(path); err != nil {
			t.Error(err)
		}
	}()
	if err := netns.Do(path, f); err != nil {
		t.Fatal(err)
	}
}
