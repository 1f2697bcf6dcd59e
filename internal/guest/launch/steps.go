package launch

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// anywhere is the folder that relative paths start from (AT_FDCWD).
const anywhere = ^uintptr(99) // -100

// PrivateMounts keeps the namespace's mounts its own.
func (p *Program) PrivateMounts() {
	p.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

// PivotRoot makes root, a mount point, the root of the file system, with
// nothing of the old one in reach. Later paths are the new root's, so that
// no link in it can lead out.
func (p *Program) PivotRoot(root string) {
	p.add("enter the root file system", unix.SYS_CHDIR, p.text(root))
	dot := p.text(".")
	p.add("change the root file system", unix.SYS_PIVOT_ROOT, dot, dot)
	p.add("leave the old root file system", unix.SYS_UMOUNT2, dot, unix.MNT_DETACH)
	p.add("enter the root file system", unix.SYS_CHDIR, p.text("/"))
}

// Mount is mount(2).
func (p *Program) Mount(source, target, kind string, flags uint64, data string) *step {
	return p.add("mount "+target, unix.SYS_MOUNT, p.text(source), p.text(target), p.text(kind), uintptr(flags), p.text(data))
}

// Attach mounts what the file descriptor tree holds (open_tree, fsmount).
func (p *Program) Attach(tree int, target string) {
	p.add("mount "+target, unix.SYS_MOVE_MOUNT, uintptr(tree), p.text(""), anywhere, p.text(target), unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// MakeFolder makes a folder and those above it where they lack.
func (p *Program) MakeFolder(folder string) {
	at := "/"
	for part := range strings.SplitSeq(strings.Trim(path.Clean("/"+folder), "/"), "/") {
		at = path.Join(at, part)
		p.add("make folder "+at, unix.SYS_MKDIR, p.text(at), 0o755).ignoring(unix.EEXIST, unix.EROFS)
	}
}

// MakeFile makes an empty file where there is none.
func (p *Program) MakeFile(name string) {
	p.MakeFolder(path.Dir(path.Clean("/" + name)))
	p.add("make file "+name, unix.SYS_OPEN, p.text(name), unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0o644).
		ignoring(unix.EROFS, unix.EISDIR, unix.ENXIO)
}

// MakeLink makes a symbolic link where there is nothing.
func (p *Program) MakeLink(target, name string) {
	p.add("make link "+name, unix.SYS_SYMLINK, p.text(target), p.text(name)).ignoring(unix.EEXIST)
}

// MakeDevice makes a device node, in place of another.
func (p *Program) MakeDevice(name string, mode uint32, major, minor uint32, uid, gid uint32) {
	file := p.text(name)
	p.add("remove "+name, unix.SYS_UNLINK, file).ignoring(unix.ENOENT)
	p.add("make device "+name, unix.SYS_MKNOD, file, uintptr(mode), uintptr(unix.Mkdev(major, minor)))
	p.add("make device "+name, unix.SYS_CHMOD, file, uintptr(mode&0o7777))
	p.add("make device "+name, unix.SYS_CHOWN, file, uintptr(uid), uintptr(gid))
}

// Mask makes a path, if there is one, read as empty.
func (p *Program) Mask(name string) {
	p.Mount("/dev/null", name, "", unix.MS_BIND, "").ignoring(unix.ENOENT, unix.ENOTDIR)
	p.Mount("tmpfs", name, "tmpfs", unix.MS_RDONLY, "size=0k").ignoring(unix.ENOENT, unix.ENOTDIR)
}

// Protect makes a path, if there is one, read-only.
func (p *Program) Protect(name string) {
	p.Mount(name, name, "", unix.MS_BIND|unix.MS_REC, "").ignoring(unix.ENOENT)
	p.Mount("", name, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "").ignoring(unix.ENOENT)
}

// ProtectRoot makes the root file system read-only.
func (p *Program) ProtectRoot() {
	p.Mount("", "/", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

// WriteFile writes text to an existing file.
func (p *Program) WriteFile(name, text string) {
	p.add("open "+name, unix.SYS_OPEN, p.text(name), unix.O_WRONLY|unix.O_CLOEXEC).save = true
	p.add("write "+name, unix.SYS_WRITE, 0, p.text(text), uintptr(len(text))).saved = true
	p.add("close "+name, unix.SYS_CLOSE).saved = true
}

// Hostname sets it in the UTS namespace.
func (p *Program) Hostname(name string) {
	p.add("set the hostname", unix.SYS_SETHOSTNAME, p.text(name), uintptr(len(name)))
}

// NewCgroupView makes the process's control group the root of what it sees.
func (p *Program) NewCgroupView() {
	p.add("make a control group namespace", unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP)
}

// Join enters namespaces of the process that pidfd is.
func (p *Program) Join(pidfd int, namespaces Namespaces) {
	p.add("enter the container's namespaces", unix.SYS_SETNS, uintptr(pidfd), uintptr(namespaces))
}

// MakeFor makes what the process makes from here on, files and file systems,
// belong to uid and gid. It stays root otherwise, with all capabilities.
func (p *Program) MakeFor(uid, gid uint32) {
	p.add("make files for a group", unix.SYS_SETFSGID, uintptr(gid))
	p.add("make files for a user", unix.SYS_SETFSUID, uintptr(uid))
	// Those over files have gone with the user.
	all := ^uint64(0)
	p.capabilities(Privileges{Effective: all, Permitted: all}, -1)
}

// EnterUsers enters the user namespace that the file descriptor is, with all
// capabilities there and none elsewhere.
func (p *Program) EnterUsers(namespace int) {
	p.add("enter the user namespace", unix.SYS_SETNS, uintptr(namespace), unix.CLONE_NEWUSER)
}

// OwnMounts makes the mounts belong to the user namespace that the process is
// in, which may add to them but not take away what hides or protects others.
func (p *Program) OwnMounts() {
	p.add("make a mount namespace", unix.SYS_UNSHARE, unix.CLONE_NEWNS)
}

// Files makes the process's files 0, 1 and 2 of three descriptors above 2.
func (p *Program) Files(in, out, err int) {
	for target, fd := range [3]int{in, out, err} {
		p.add("set up standard files", unix.SYS_DUP3, uintptr(fd), uintptr(target), 0)
	}
}

// Session begins one, with file 0 as its terminal if there is one.
func (p *Program) Session(terminal bool) {
	p.add("begin a session", unix.SYS_SETSID)
	if terminal {
		p.add("take the terminal", unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0)
	}
}

// WorkIn enters the working folder, which is made where it lacks.
func (p *Program) WorkIn(folder string) {
	p.add("enter the working folder "+folder, unix.SYS_CHDIR, p.text(folder))
}

// TimerSlack sets how late the process's timers may be, in nanoseconds.
func (p *Program) TimerSlack(most uint) {
	p.add("set the timers' slack", unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(most))
}

// Umask sets it.
func (p *Program) Umask(mask uint32) { p.add("set the umask", unix.SYS_UMASK, uintptr(mask)) }

// Limit is setrlimit.
func (p *Program) Limit(kind uint32, soft, hard uint64) {
	limit := &unix.Rlimit{Cur: soft, Max: hard}
	p.keep = append(p.keep, limit)
	p.add("set a resource limit", unix.SYS_PRLIMIT64, 0, uintptr(kind), pointer(limit), 0)
}

// Exec replaces the process with the first of the candidates that exists.
func (p *Program) Exec(candidates, args, env []string) {
	argv, envv := p.texts(args), p.texts(env)
	for i, file := range candidates {
		s := p.add("exec "+args[0], unix.SYS_EXECVE, p.text(file), argv, envv)
		if i < len(candidates)-1 {
			s.ignoring(unix.ENOENT, unix.ENOTDIR, unix.EACCES)
		}
	}
}

// Pause makes the process wait for ever and its children vanish when they end:
// it is the first process of a PID namespace that several containers share.
func (p *Program) Pause() {
	ignore := &[4]uintptr{1} // struct sigaction with SIG_IGN
	p.keep = append(p.keep, ignore)
	p.add("ignore children", unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), pointer(ignore), 0, 8)
	p.add("begin a session", unix.SYS_SETSID)
	p.add("close files", unix.SYS_CLOSE_RANGE, 0, 1<<32-1, 0)
	// Only a signal that ends the process interrupts it.
	p.add("wait", unix.SYS_PAUSE)
}
