package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/guest/launch"
	"redoubt.dev/redoubt/internal/wire"
)

// nobody owns what belongs to a user that the pod does not have.
const nobody = 65534

// users are the pod's: the machine's, or with a user namespace of the pod's own
// those that ids gives it. All of the pod's containers are in that namespace.
//
// What the host tells of owners is meant as the pod sees it. The guest's kernel
// cannot show every file system to a user namespace under other owners (memory's
// not before Linux 6.3), so what is made for the pod alone, which is all but the
// image's layers, belongs to its users from the start.
type users struct {
	ids       wire.Users
	namespace *os.File // nil: the machine's
}

// makeUsers makes the pod's user namespace, in place of an earlier one. The
// agent's lock is held.
func (a *agent) makeUsers(ids wire.Users) error {
	if a.users.namespace != nil {
		a.users.namespace.Close()
	}
	a.users = users{}
	if len(ids.UIDs) == 0 {
		return nil
	}
	// It begins with a process, which is not needed for longer.
	p := launch.New(unix.CLONE_NEWUSER, -1)
	p.Pause()
	first := newProcess(&stdio{})
	if err := a.processes.start(p, first); err != nil {
		return err
	}
	defer func() { _ = first.signal(uint32(unix.SIGKILL)) }()
	proc := filepath.Join("/proc", strconv.Itoa(first.pid))
	for file, ranges := range map[string][]wire.IDRange{"uid_map": ids.UIDs, "gid_map": ids.GIDs} {
		if err := os.WriteFile(filepath.Join(proc, file), []byte(lines(ranges)), 0); err != nil {
			return fmt.Errorf("%w: map %v: %w", errdefs.ErrInvalidArgument, ranges, err)
		}
	}
	namespace, err := os.Open(filepath.Join(proc, "ns/user"))
	if err != nil {
		return err
	}
	a.users = users{ids: ids, namespace: namespace}
	return nil
}

// lines is ranges as the kernel takes them.
func lines(ranges []wire.IDRange) string {
	var b strings.Builder
	for _, r := range ranges {
		fmt.Fprintln(&b, r.Inside, r.Outside, r.Size)
	}
	return b.String()
}

// uid is the machine's number of the pod's user, gid the same for a group.
func (u *users) uid(inside uint32) uint32 { return u.outside(u.ids.UIDs, inside) }
func (u *users) gid(inside uint32) uint32 { return u.outside(u.ids.GIDs, inside) }

func (u *users) outside(ranges []wire.IDRange, inside uint32) uint32 {
	if u.namespace == nil {
		return inside
	}
	for _, r := range ranges {
		if inside >= r.Inside && inside-r.Inside < r.Size {
			return r.Outside + inside - r.Inside
		}
	}
	return nobody
}

// own makes a volume, and all that is in it, the pod's users'.
func (u *users) own(v *wire.Volume) {
	v.UID, v.GID = u.uid(v.UID), u.gid(v.GID)
	for i := range v.Entries {
		e := &v.Entries[i]
		e.UID, e.GID = u.uid(e.UID), u.gid(e.GID)
	}
}

// show mounts what is mounted at dir there anew, with the pod's users as owners.
func (u *users) show(dir string) error {
	if u.namespace == nil {
		return nil
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(u.namespace.Fd())}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return err
	}
	if err := unix.Unmount(dir, 0); err != nil {
		return err
	}
	return unix.MoveMount(tree, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// owner makes what p makes from here on belong to the pod's root.
func (u *users) owner(p *launch.Program) {
	if u.namespace != nil {
		p.MakeFor(u.uid(0), u.gid(0))
	}
}

// enter makes p one of the pod's users' processes. A container's first process
// also takes over the mounts that were made for it.
func (u *users) enter(p *launch.Program, first bool) {
	if u.namespace == nil {
		return
	}
	p.EnterUsers(int(u.namespace.Fd()))
	if first {
		p.OwnMounts()
	}
}
