// Package vmmtest is what every hypervisor behind package vmm must do, as a
// test suite, and a guest for it: the guest image with a shell in the agent's
// place.
package vmmtest

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"redoubt.dev/redoubt/internal/microvm/vmm/qemu"
)

// Image is the guest image as 'make guest' leaves it.
func Image(t testing.TB) qemu.Image {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	image := qemu.ImageIn(filepath.Join(dir, "bin", "guest"))
	if _, err := os.Stat(image.Initramfs); err != nil {
		t.Fatalf("the guest image is missing: %v; build it with: make guest", err)
	}
	return image
}

// hello is what the shell says when it is ready.
const hello = "ready\n"

// shell loads the modules as the agent does, finds the agent's channel and
// runs what comes over it.
const shell = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t devtmpfs devtmpfs /dev
for m in /modules/*; do insmod $m; done
for p in /sys/class/virtio-ports/*; do
	[ "$(cat $p/name)" = redoubt.agent ] && port=/dev/${p##*/}
done
exec 3<>$port <&3 >&3 2>&3
echo ready
while read -r line; do eval "$line"; echo "end $?"; done
`

// ShellImage is the guest image with a shell instead of the agent.
func ShellImage(t testing.TB) qemu.Image {
	t.Helper()
	return WithInit(t, shell)
}

// WithInit is the guest image with busybox and a script as its first process.
func WithInit(t testing.TB, script string) qemu.Image {
	t.Helper()
	image := Image(t)
	overlay := t.TempDir()
	write(t, filepath.Join(overlay, "init"), []byte(script))
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("%v; install it with: apt-get install busybox-static", err)
	}
	write(t, filepath.Join(overlay, "bin", "busybox"), busybox)
	cpio := exec.Command("/bin/busybox", "cpio", "-o", "-H", "newc")
	cpio.Dir = overlay
	cpio.Stdin = strings.NewReader("init\nbin\nbin/busybox\n")
	added, err := cpio.Output()
	if err != nil {
		t.Fatalf("pack the test guest: %v", err)
	}
	base, err := os.ReadFile(image.Initramfs)
	if err != nil {
		t.Fatal(err)
	}
	// The kernel unpacks one archive after the other; later files replace
	// earlier ones.
	image.Initramfs = filepath.Join(t.TempDir(), "initramfs")
	write(t, image.Initramfs, bytes.Join([][]byte{base, added}, nil))
	return image
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

// AwaitShell returns when the shell is ready.
func AwaitShell(r io.Reader) error {
	_, err := io.ReadFull(r, make([]byte, len(hello)))
	return err
}
