package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// preflight refuses what cannot work before anything is started.
func (b *boot) preflight() error {
	if os.Geteuid() != 0 {
		return errors.New("booting the platform needs root; run it with sudo")
	}
	for _, program := range []string{"kubernetes", "etcd", "containerd", "containerd-shim-runc-v2", "runc", "coredns", "cni/ptp"} {
		if path := filepath.Join(b.engine, program); !exists(path) {
			return fmt.Errorf("%s is missing; build it with: make engine", path)
		}
	}
	for _, program := range []string{"nft", "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("the program %s is missing; install it with: apt-get install nftables mount", program)
		}
	}
	if err := b.makeFolders(); err != nil {
		return err
	}
	return b.listen()
}

// leastRoom is what the platform's own files take, without images, in bytes.
const leastRoom = 1 << 30

// makeFolders makes the data and run folders. A full disk is said here: etcd
// and the kubelet would say it later, and not as plainly.
func (b *boot) makeFolders() error {
	for _, dir := range []string{b.inst.DataDir, b.inst.RunDir(), b.inst.LogDir(), b.inst.Data("etcd"), b.inst.Data("registries")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make folder: %w; choose another data folder with --data-dir", err)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("protect folder: %w; choose another data folder with --data-dir", err)
		}
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(b.inst.DataDir, &disk); err != nil {
		return fmt.Errorf("look at the disk of %s: %w", b.inst.DataDir, err)
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < leastRoom {
		return fmt.Errorf("the disk of %s has %d MiB left and the platform needs %d: make room, or choose another data folder with --data-dir",
			b.inst.DataDir, free>>20, leastRoom>>20)
	}
	// Root in a pod's user namespace is nobody here, and the container's root
	// file system is below the run folder: it may pass through, not look.
	for _, dir := range []string{filepath.Dir(b.inst.RunDir()), b.inst.RunDir()} {
		if err := os.Chmod(dir, 0o711); err != nil {
			return fmt.Errorf("open folder to pods' users: %w", err)
		}
	}
	return nil
}

// listen takes the host's ports early: a port in use is the likeliest fault.
func (b *boot) listen() (err error) {
	if b.api, b.opts.APIPort, err = listenOn("--api-port", b.opts.APIPort); err != nil {
		return err
	}
	b.http, b.opts.HTTPPort, err = listenOn("--http-port", b.opts.HTTPPort)
	return err
}

func listenOn(flag string, port int) (net.Listener, int, error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, 0, fmt.Errorf("port %d is in use by another program; choose another with %s, or 0 for any free one", port, flag)
	}
	if err != nil {
		return nil, 0, err
	}
	return l, l.Addr().(*net.TCPAddr).Port, nil
}
