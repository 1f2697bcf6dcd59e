package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	layersDir = "/run/l" // short: an overlay's layers must fit one page
	// diskWait is how long a disk may take from being plugged in to be seen.
	diskWait = 10 * time.Second
)

// disk waits for the disk with the SCSI target number address and returns its
// device file.
func disk(address uint32) (string, error) {
	pattern := fmt.Sprintf("/sys/class/scsi_device/*:0:%d:0/device/block/*", address)
	for deadline := time.Now().Add(diskWait); ; time.Sleep(time.Millisecond) {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			file := filepath.Join("/dev", filepath.Base(found[0]))
			// The kernel names a disk before it can be used.
			if f, err := os.Open(file); err == nil {
				f.Close()
				return file, nil
			}
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("disk %d did not appear within %v", address, diskWait)
		}
	}
}

// mountLayers mounts the disks at addresses and returns where, in their order.
// The agent's lock is held.
func (a *agent) mountLayers(addresses []uint32) ([]string, error) {
	var dirs []string
	for _, address := range addresses {
		dir, err := a.mountLayer(address)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// mountLayer mounts a disk that holds an image layer, once for all containers
// of the machine, and returns where. The agent's lock is held.
func (a *agent) mountLayer(address uint32) (string, error) {
	if dir, mounted := a.layers[address]; mounted {
		return dir, nil
	}
	file, err := disk(address)
	if err != nil {
		return "", err
	}
	dir := fmt.Sprintf("%s/%d", layersDir, address)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := unix.Mount(file, dir, "erofs", unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
		return "", fmt.Errorf("mount the layer on disk %d: %w", address, err)
	}
	if err := a.users.show(dir); err != nil {
		return "", errors.Join(fmt.Errorf("show the layer on disk %d to the pod's users: %w", address, err), unix.Unmount(dir, unix.MNT_DETACH))
	}
	a.layers[address] = dir
	return dir, nil
}
