// Package netns makes network namespaces, which can have a name that "ip netns
// exec" knows, and runs code inside them.
//
// A socket belongs to the namespace of the thread that made it and stays
// usable from any other: Dial and Listen carry connections across the
// boundary without a route between the two sides.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/thread"
)

// NamesDir is where iproute2 looks for namespaces by name. A namespace itself
// is not mounted there: iproute2 mounts the folder onto itself when it makes one
// of its own, and what is below cannot be unmounted any more.
const NamesDir = "/run/netns"

// Create makes the namespace at path with its loopback still down. An existing
// one is kept.
func Create(path string) error {
	if Exists(path) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make folder of the network namespace: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	_ = f.Close()
	if err := onFreshThread(func() error { return unshareInto(path) }); err != nil {
		return errors.Join(fmt.Errorf("make network namespace %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// Name gives the namespace at path a name for iproute2. A name that a killed
// process left behind is taken over.
func Name(path, name string) error {
	if err := os.MkdirAll(NamesDir, 0o755); err != nil {
		return fmt.Errorf("name network namespace: %w", err)
	}
	if err := errors.Join(Unname(name), os.Symlink(path, filepath.Join(NamesDir, name))); err != nil {
		return fmt.Errorf("name network namespace: %w", err)
	}
	return nil
}

// Unname takes the name away. What is no link is another's and stays.
func Unname(name string) error {
	link := filepath.Join(NamesDir, name)
	if _, err := os.Readlink(link); err != nil {
		return nil
	}
	if err := os.Remove(link); err != nil {
		return fmt.Errorf("remove name of network namespace: %w", err)
	}
	return nil
}

// Exists says whether path is a network namespace; the empty file that a
// reboot leaves behind is none.
func Exists(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

// Delete unmounts the namespace; the kernel drops the namespace with its links,
// rules and tables once no process or socket is left in it. Deleting what
// does not exist is no error.
func Delete(path string) error {
	for Exists(path) {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount network namespace %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove network namespace: %w", err)
	}
	return nil
}

// Do runs f on a thread inside the namespace at path. Goroutines that f
// starts are not inside.
func Do(path string, f func() error) error {
	return onFreshThread(func() error {
		if err := Enter(path); err != nil {
			return err
		}
		return f()
	})
}

// Enter moves the calling thread, which must be locked to its goroutine, into
// the namespace at path, for good.
func Enter(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return nil
}

// Listen opens a listener inside the namespace at path. The address must be
// numeric: a name would be resolved on another thread.
func Listen(path, network, address string) (l net.Listener, err error) {
	err = Do(path, func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// Dial connects from inside the namespace at path to a numeric address.
func Dial(ctx context.Context, path, network, address string) (conn net.Conn, err error) {
	err = Do(path, func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

func unshareInto(path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	return unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, "")
}

// onFreshThread runs f on a thread that is thrown away afterwards, because f
// changes what the thread belongs to.
func onFreshThread(f func() error) error {
	done := make(chan error)
	thread.Go(func() { done <- f() })
	return <-done
}
