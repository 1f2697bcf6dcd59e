package freezer

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// nobody knows nothing of pods.
type nobody struct{}

func (nobody) Instance(string) bool { return true }
func (nobody) Changed(string)       {}

// folder is a group of version 1 in an ordinary folder.
func folder(t *testing.T) group {
	t.Helper()
	g := hierarchy{v1: true}.group(t.TempDir())
	g.state = filepath.Join(t.TempDir(), "state")
	return g
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFreezeThatFailsThaws cannot find out whether the processes have stopped.
func TestFreezeThatFailsThaws(t *testing.T) {
	g := folder(t)
	stopped, err := g.Freeze(t.Context(), func() bool { return false })
	if err == nil || stopped {
		t.Errorf("without a state: stopped %t, %v", stopped, err)
	}
	if now := content(t, g.control); now != "THAWED" {
		t.Errorf("the group was left %s", now)
	}
}

// TestThawIsTriedAgain has a thaw fail: the pod counts as frozen until one does
// not.
func TestThawIsTriedAgain(t *testing.T) {
	g := folder(t)
	if err := os.Mkdir(g.control, 0o755); err != nil { // nobody writes to a folder
		t.Fatal(err)
	}
	f := &Freezer{known: nobody{}, pods: map[string]*pod{"a": {group: g, frozen: true}}}
	f.thaw("a")
	if !f.Frozen("a") {
		t.Error("a pod that could not be thawed is said not to be frozen")
	}
	if err := os.Remove(g.control); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); f.Frozen("a"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the thaw was not tried again")
		}
	}
	if now := content(t, g.control); now != "THAWED" {
		t.Errorf("the group was left %s", now)
	}
}

// A pod that goes on for the kubelet alone may not be frozen, and is idle all the
// same.
func TestIdleWhileResized(t *testing.T) {
	f := &Freezer{
		known: nobody{}, pods: map[string]*pod{}, entered: map[string]map[Visit]struct{}{}, kept: map[string]struct{}{},
		gateways: map[*gateway]struct{}{{released: map[string]bool{"a": true}}: {}},
	}
	if f.wanted("a") || !f.Idle("a") {
		t.Error("a pod that its gateway has released is wanted")
	}
	f.Enter("a", Resize)
	if !f.wanted("a") || !f.Idle("a") {
		t.Errorf("while it is resized: wanted %t, idle %t", f.wanted("a"), f.Idle("a"))
	}
	f.Enter("a", Forward)
	if !f.wanted("a") || f.Idle("a") {
		t.Errorf("with a client in it: wanted %t, idle %t", f.wanted("a"), f.Idle("a"))
	}
	if f.Idle("b") {
		t.Error("a pod that its gateway may use is idle")
	}
}
