package guest

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

const containersDir = stateDir + "/containers"

// rootfs is a container's root file system.
type rootfs struct {
	dir     string // holds the two
	path    string // where it is mounted
	pts     string // where its pseudo-terminals are
	mounted []string
}

// makeRoot puts a writable layer in memory over the image's layers. The
// agent's lock is held.
func (a *agent) makeRoot(id string, root wire.Root) (_ *rootfs, err error) {
	r := &rootfs{dir: filepath.Join(containersDir, id)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.remove())
		}
	}()
	writable := filepath.Join(r.dir, "rw")
	if err := os.MkdirAll(writable, 0o700); err != nil {
		return nil, err
	}
	if err := r.mount("tmpfs", writable, "tmpfs", unix.MS_NODEV, fmt.Sprintf("mode=0755,size=%d,uid=%d,gid=%d", root.Size, a.users.uid(0), a.users.gid(0))); err != nil {
		return nil, err
	}
	if err := r.terminals(a.users.gid(terminalGroup)); err != nil {
		return nil, err
	}
	if len(root.Layers) == 0 {
		r.path = writable
		return r, nil
	}
	lower, err := a.mountLayers(root.Layers)
	if err != nil {
		return nil, err
	}
	return r, r.overlay(writable, lower)
}

// terminalGroup may write to others' terminals, as everywhere.
const terminalGroup = 5

// terminals makes the container's own set of pseudo-terminals, which the agent
// opens and the container mounts.
func (r *rootfs) terminals(group uint32) error {
	r.pts = filepath.Join(r.dir, "pts")
	if err := os.Mkdir(r.pts, 0o755); err != nil {
		return err
	}
	options := "newinstance,ptmxmode=0666,mode=0620"
	// This file system reads no larger numbers; a terminal then has the group of
	// whoever opens it.
	if group <= math.MaxInt32 {
		options += fmt.Sprintf(",gid=%d", group)
	}
	return r.mount("devpts", r.pts, "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, options)
}

func (r *rootfs) overlay(writable string, lower []string) error {
	upper, work := filepath.Join(writable, "u"), filepath.Join(writable, "w")
	r.path = filepath.Join(r.dir, "root")
	for _, dir := range []string{upper, work, r.path} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	// The image's own root decides who may enter the container's.
	var top unix.Stat_t
	if err := unix.Stat(lower[0], &top); err != nil {
		return fmt.Errorf("read the topmost layer: %w", err)
	}
	if err := errors.Join(os.Chmod(upper, os.FileMode(top.Mode&0o777)), os.Lchown(upper, int(top.Uid), int(top.Gid))); err != nil {
		return err
	}
	// xino=off and no index: nothing outlives the machine.
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,volatile", strings.Join(lower, ":"), upper, work)
	return r.mount("overlay", r.path, "overlay", unix.MS_NODEV, options)
}

func (r *rootfs) mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount the container's %s: %w", kind, err)
	}
	r.mounted = append(r.mounted, target)
	return nil
}

// remove takes it away, whatever part of it was made.
func (r *rootfs) remove() error {
	var errs []error
	for i := len(r.mounted) - 1; i >= 0; i-- {
		errs = append(errs, unix.Unmount(r.mounted[i], unix.MNT_DETACH))
	}
	r.mounted = nil
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}
