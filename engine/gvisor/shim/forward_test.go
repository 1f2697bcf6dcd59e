package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestListenEverywhere is the redirection in a real network namespace with
// another address: every port of the loopback is the listener's, none of
// the other address is, and none at all once the listener is closed.
func TestListenEverywhere(t *testing.T) {
	const outside = "198.51.100.7"
	path := namespace(t, outside)
	l, err := listenEverywhere(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, port := range []int{1, 80, 65535} {
		if got := dialed(t, path, l, port); got != port {
			t.Errorf("a connection to port %d arrives as one to port %d", port, got)
		}
	}
	if conn, err := dialInside(path, net.JoinHostPort(outside, "80")); err == nil {
		conn.Close()
		t.Errorf("port 80 of %s is reachable, which is not the loopback's", outside)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if conn, err := dialInside(path, "127.0.0.1:80"); err == nil {
		conn.Close()
		t.Error("port 80 is still reachable after the end")
	}
}

// dialed connects to a port of the loopback and answers with the port that
// the listener sees.
func dialed(t *testing.T, path string, l net.Listener, port int) int {
	t.Helper()
	client, err := dialInside(path, fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	return server.LocalAddr().(*net.TCPAddr).Port
}

// namespace makes a network namespace that has the address outside too, for
// the length of the test.
func namespace(t *testing.T, outside string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes a network namespace, which needs root")
	}
	name := fmt.Sprintf("redoubt-shim-test-%d", os.Getpid())
	run(t, "ip", "netns", "add", name)
	t.Cleanup(func() { run(t, "ip", "netns", "delete", name) })
	run(t, "ip", "-n", name, "link", "set", "lo", "up")
	run(t, "ip", "-n", name, "address", "add", outside+"/32", "dev", "lo")
	return "/run/netns/" + name
}

func run(t *testing.T, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, out)
	}
}

func dialInside(path, address string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		defer close(done)
		var f *os.File
		if f, err = os.Open(path); err != nil {
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		conn, err = net.DialTimeout("tcp4", address, 5*time.Second)
	}()
	<-done
	return conn, err
}
