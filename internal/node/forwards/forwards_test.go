package forwards

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A namespace counts for as long as the process that serves the socket has a
// file of it open.
func TestLasting(t *testing.T) {
	const path = "/proc/thread-self/ns/net"
	socket := filepath.Join(t.TempDir(), "runtime.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := newRuntime(socket)
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	name := namespace(stat.Ino)
	look := func() bool {
		open, err := r.lasting(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, found := open[name]
		return found
	}
	if look() {
		t.Fatal("the namespace is open already")
	}
	ns, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if !look() {
		t.Error("a namespace that is open is not found")
	}
	ns.Close()
	if look() {
		t.Error("a namespace that was closed is found")
	}
	if r.pid != os.Getpid() {
		t.Errorf("the socket is served by %d, want %d", r.pid, os.Getpid())
	}
	info := fmt.Sprintf(`{"runtimeSpec": {"linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": %q}]}}}`, path)
	if got := namespaceOf(info); got != name {
		t.Errorf("the sandbox's namespace is %d, want %d", got, name)
	}
	for _, bad := range []string{"", "{", "[]", `{"runtimeSpec": {"linux": {"namespaces": [{"type": "network"}]}}}`} {
		if got := namespaceOf(bad); got != 0 {
			t.Errorf("%s has the namespace %d", bad, got)
		}
	}
}

func TestCompare(t *testing.T) {
	var told []string
	changed := func(uid string, open bool) { told = append(told, fmt.Sprint(uid, open)) }
	open := compare(nil, map[namespace]string{1: "a"}, changed)
	open = compare(open, map[namespace]string{1: "a"}, changed)
	open = compare(open, map[namespace]string{1: "b"}, changed) // the kernel uses numbers again
	compare(open, nil, changed)
	if got := fmt.Sprint(told); got != "[atrue btrue afalse bfalse]" {
		t.Errorf("told %s", got)
	}
}
