package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
)

func newNamespace(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	path := filepath.Join(t.TempDir(), "netns")
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Delete(path); err != nil {
			t.Error(err)
		}
	})
	return path
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

func TestSocketsCrossTheBoundary(t *testing.T) {
	path := newNamespace(t)
	if err := Do(path, loopbackUp); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			fmt.Fprint(c, "hello")
			c.Close()
		}
	}()
	c, err := Dial(context.Background(), path, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 5)
	if _, err := c.Read(buf); err != nil || string(buf) != "hello" {
		t.Fatalf("read %q, %v", buf, err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the listener inside the namespace answers outside of it")
	}
}

func TestCreateAndDeleteAreIdempotent(t *testing.T) {
	path := newNamespace(t)
	if err := Create(path); err != nil {
		t.Errorf("create again: %v", err)
	}
	for range 2 {
		if err := Delete(path); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if Exists(path) {
		t.Error("still there after delete")
	}
}

func TestCreateReplacesWhatARebootLeaves(t *testing.T) {
	path := newNamespace(t)
	if err := Delete(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := Create(path); err != nil || !Exists(path) {
		t.Errorf("create over an empty file: %v", err)
	}
}

// iproute2 finds a namespace by its name, and one of its own that was made
// meanwhile is not in the way of removing it.
func TestNamesLiveBesideIproute2(t *testing.T) {
	path := newNamespace(t)
	name := fmt.Sprintf("redoubt-test-%d", os.Getpid())
	for range 2 {
		if err := Name(path, name); err != nil {
			t.Fatal(err)
		}
	}
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Errorf("ip %v: %v: %s", args, err, out)
		}
	}
	ip("-n", name, "link", "set", "lo", "up")
	ip("netns", "add", name+"-other")
	if err := Unname(name + "-other"); err != nil {
		t.Error(err)
	}
	ip("netns", "delete", name+"-other") // which is no link, and stayed
	if err := Unname(name); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(NamesDir, name)); !os.IsNotExist(err) {
		t.Errorf("the name is still there: %v", err)
	}
}
