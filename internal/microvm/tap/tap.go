// Package tap makes tap devices: the host's end of a virtual machine's network
// card.
//
// A device lives as long as a file of it is open.
package tap

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/thread"
)

// Create makes a tap device called name in the calling thread's network
// namespace. Its file can be handed to a virtual machine: the kernel lets it
// be used without privileges then.
func Create(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make a tap device: open /dev/net/tun (is the kernel module tun loaded?): %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make the tap device %q: %w", name, err)
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

// Unconnected makes a tap device in a network namespace of its own, which
// goes with the device.
func Unconnected() (*os.File, error) {
	device, namespace, err := Apart("tap0")
	if err != nil {
		return nil, err
	}
	return device, namespace.Close()
}

// Apart makes a tap device called name in a network namespace of its own, and
// returns both. The caller closes them.
func Apart(name string) (device, namespace *os.File, err error) {
	done := make(chan error)
	thread.Go(func() {
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			namespace, err = os.Open("/proc/thread-self/ns/net")
		}
		if err != nil {
			done <- fmt.Errorf("make a network namespace: %w", err)
			return
		}
		if device, err = Create(name); err != nil {
			_ = namespace.Close()
		}
		done <- err
	})
	return device, namespace, <-done
}
