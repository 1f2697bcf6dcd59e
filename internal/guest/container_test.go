package guest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"redoubt.dev/redoubt/internal/wire"
)

// TestNothingStartsInAPausedContainer: its child would stop half-way, and the
// agent, which waits for it, with all that it holds.
func TestNothingStartsInAPausedContainer(t *testing.T) {
	a, group := newAgent(), cgroup{t.TempDir()}
	if err := os.WriteFile(filepath.Join(group.path, "cgroup.freeze"), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.containers["app"] = &container{
		cgroup: group, init: newProcess(&stdio{}),
		extra: map[string]*process{"more": newProcess(&stdio{})},
	}
	for _, exec := range []string{"", "more"} {
		_, err := a.start(&wire.Ref{ID: "app", Exec: exec})
		if !errdefs.IsFailedPrecondition(err) || err.Error() != "failed precondition: cannot start a process in container app, which is paused" {
			t.Errorf("process %q: got %v", exec, err)
		}
	}
}
