package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// unmountBelow takes away every mount in dir, the innermost first. It does
// not follow links, and what a mount shows is never touched.
func unmountBelow(dir string) error {
	points, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	return unmountAll(points)
}

// unmount takes away every mount in dir and on it.
func unmount(dir string) error {
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return unmountAll([]string{dir})
}

func unmountAll(points []string) error {
	var errs []error
	for _, point := range slices.Backward(points) {
		err := unix.Unmount(point, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", point, err))
		}
	}
	return errors.Join(errs...)
}

// mustNotHoldMounts is asked before a folder is deleted.
func mustNotHoldMounts(dir string) error {
	points, err := mountsBelow(dir)
	if err != nil || len(points) == 0 {
		return err
	}
	return fmt.Errorf("%s is mounted inside %s, and deleting would reach what it shows; unmount it first: umount %s", points[0], dir, points[0])
}

// mountsBelow lists the mounts inside dir, outer ones first; dir itself may be
// a mount and is not listed.
func mountsBelow(dir string) ([]string, error) {
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var points []string
	for _, info := range infos {
		if info.Mountpoint != dir {
			points = append(points, info.Mountpoint)
		}
	}
	slices.SortFunc(points, strings.Compare)
	return points, nil
}
