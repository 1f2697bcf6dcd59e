package guest

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/guest/launch"
	"redoubt.dev/redoubt/internal/wire"
)

// maxFiles is the limit of open files where the specification sets none.
const maxFiles = 1 << 20

// descriptors are what the start of a process needs, closed when it runs: file
// system trees that are mounted nowhere yet, to be attached in a container, and
// the process whose PID namespace it joins.
type descriptors []int

func (d descriptors) close() {
	for _, fd := range d {
		unix.Close(fd)
	}
}

// initProgram is the start of a container's first process: namespaces, mounts,
// devices, privileges, program. release frees what it holds.
func (a *agent) initProgram(c *container) (_ *launch.Program, release func(), err error) {
	group, err := c.cgroup.open()
	if err != nil {
		return nil, nil, fmt.Errorf("open the control group: %w", err)
	}
	var held descriptors
	release = func() {
		held.close()
		group.Close()
	}
	defer func() {
		if err != nil {
			release()
		}
	}()
	p := launch.New(namespaces(c.spec), int(group.Fd()))
	if held, err = a.joinPod(p, c.spec); err != nil {
		return nil, release, err
	}
	files(p, c.init.files)
	oomScore(p, &c.spec.Process)
	p.NewCgroupView()
	p.PrivateMounts()
	a.users.owner(p)
	p.PivotRoot(c.root.path)
	mounts, err := a.mounts(p, c)
	held = append(held, mounts...)
	if err != nil {
		return nil, release, err
	}
	devices, err := a.devices(p, c)
	held = append(held, devices...)
	if err != nil {
		return nil, release, err
	}
	for _, s := range c.spec.Sysctls {
		p.WriteFile("/proc/sys/"+strings.ReplaceAll(s.Name, ".", "/"), s.Value)
	}
	restrict(p, c.spec)
	prepare(p, &c.spec.Process)
	a.users.enter(p, true)
	a.become(p, &c.spec.Process)
	return p, release, nil
}

// namespaces are those that the container has for itself.
func namespaces(spec *wire.Container) launch.Namespaces {
	flags := launch.Namespaces(unix.CLONE_NEWNS)
	if !spec.PodPID {
		flags |= unix.CLONE_NEWPID
	}
	if !spec.PodIPC {
		flags |= unix.CLONE_NEWIPC
	}
	if !spec.PodUTS {
		flags |= unix.CLONE_NEWUTS
	}
	return flags
}

// joinPod puts the container in the pod's PID namespace if it belongs there.
func (a *agent) joinPod(p *launch.Program, spec *wire.Container) (descriptors, error) {
	if !spec.PodUTS && spec.Hostname != "" {
		p.Hostname(spec.Hostname)
	}
	if !spec.PodPID {
		return nil, nil
	}
	if a.holder == nil {
		if err := a.holdPIDNamespace(); err != nil {
			return nil, fmt.Errorf("make the pod's PID namespace: %w", err)
		}
	}
	pidfd, running := a.holder.descriptor()
	if !running {
		return nil, errors.New("the pod's PID namespace has ended")
	}
	p.InPIDNamespaceOf(pidfd)
	return descriptors{pidfd}, nil
}

// oomScore is set while the agent's own /proc is in view.
func oomScore(p *launch.Program, spec *wire.Process) {
	if spec.OOMScore != 0 {
		p.WriteFile("/proc/self/oom_score_adj", strconv.FormatInt(spec.OOMScore, 10))
	}
}

func files(p *launch.Program, s *stdio) {
	p.Files(int(s.child[0].Fd()), int(s.child[1].Fd()), int(s.child[2].Fd()))
	p.Session(s.tty != nil)
}

// mounts adds the specification's, in its order.
func (a *agent) mounts(p *launch.Program, c *container) (held descriptors, err error) {
	for _, m := range c.spec.Mounts {
		target := path.Clean("/" + m.Target)
		var tree int
		switch {
		case m.Type == "devpts":
			if tree, err = unix.OpenTree(unix.AT_FDCWD, c.root.pts, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC); err != nil {
				return held, fmt.Errorf("mount %s: %w", target, err)
			}
		case m.Volume != "":
			if tree, err = a.volumeTree(m); err != nil {
				return held, fmt.Errorf("mount %s: %w", target, err)
			}
		default:
			p.MakeFolder(target)
			p.Mount(m.Type, target, m.Type, m.Flags, m.Data)
			continue
		}
		held = append(held, tree)
		if isFile(tree) {
			p.MakeFile(target)
		} else {
			p.MakeFolder(target)
		}
		p.Attach(tree, target)
	}
	return held, nil
}

func isFile(fd int) bool {
	var s unix.Stat_t
	return unix.Fstat(fd, &s) == nil && s.Mode&unix.S_IFMT != unix.S_IFDIR
}

// defaultDevices are in every container (the runtime specification's list).
var defaultDevices = []struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

func (a *agent) devices(p *launch.Program, c *container) (descriptors, error) {
	for _, d := range defaultDevices {
		p.MakeDevice("/dev/"+d.name, unix.S_IFCHR|0o666, d.major, d.minor, a.users.uid(0), a.users.gid(0))
	}
	for _, l := range [][2]string{
		{"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"}, {"pts/ptmx", "/dev/ptmx"},
	} {
		p.MakeLink(l[0], l[1])
	}
	for _, d := range c.spec.Devices {
		mode, major, minor := unix.S_IFCHR|d.Mode&0o777, d.Major, d.Minor
		if d.Block {
			var err error
			if major, minor, err = diskNumber(d.Disk); err != nil {
				return nil, fmt.Errorf("device %s: %w", d.Path, err)
			}
			mode = unix.S_IFBLK | d.Mode&0o777
		}
		p.MakeFolder(path.Dir(path.Clean("/" + d.Path)))
		p.MakeDevice(path.Clean("/"+d.Path), mode, major, minor, a.users.uid(d.UID), a.users.gid(d.GID))
	}
	if c.init.files.tty == nil {
		return nil, nil
	}
	return console(p, c)
}

// console makes the terminal of the first process /dev/console too.
func console(p *launch.Program, c *container) (descriptors, error) {
	n, err := c.init.files.number()
	if err != nil {
		return nil, err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, path.Join(c.root.pts, strconv.FormatUint(uint64(n), 10)), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mount the console: %w", err)
	}
	p.MakeFile("/dev/console")
	p.Attach(tree, "/dev/console")
	return descriptors{tree}, nil
}

func diskNumber(address uint32) (major, minor uint32, err error) {
	file, err := disk(address)
	if err != nil {
		return 0, 0, err
	}
	var s unix.Stat_t
	if err := unix.Stat(file, &s); err != nil {
		return 0, 0, err
	}
	return unix.Major(s.Rdev), unix.Minor(s.Rdev), nil
}

func restrict(p *launch.Program, spec *wire.Container) {
	for _, path := range spec.Masked {
		p.Mask(path)
	}
	for _, path := range spec.ReadOnly {
		p.Protect(path)
	}
	if spec.Root.ReadOnly {
		p.ProtectRoot()
	}
}

// prepare sets what the process keeps and may not be allowed to set later.
func prepare(p *launch.Program, spec *wire.Process) {
	p.TimerSlack(usualSlack)
	dir := path.Clean("/" + spec.Dir)
	p.MakeFolder(dir)
	p.WorkIn(dir)
	p.Umask(spec.Umask)
	p.Limit(unix.RLIMIT_NOFILE, maxFiles, maxFiles)
	for _, l := range spec.Limits {
		p.Limit(l.Kind, l.Soft, l.Hard)
	}
}

// become turns the child into the program it is for.
func (a *agent) become(p *launch.Program, spec *wire.Process) {
	p.Drop(launch.Privileges{
		UID: spec.UID, GID: spec.GID, Groups: spec.Groups,
		NoNewPrivs: spec.NoNewPrivs, Seccomp: spec.Seccomp,
		Bounding: spec.Caps.Bounding, Effective: spec.Caps.Effective, Permitted: spec.Caps.Permitted,
		Inheritable: spec.Caps.Inheritable, Ambient: spec.Caps.Ambient,
	}, a.lastCap)
	p.Exec(candidates(spec), spec.Args, environment(spec))
}

// environment is the process's, with the home that programs expect.
func environment(spec *wire.Process) []string {
	for _, v := range spec.Env {
		if strings.HasPrefix(v, "HOME=") {
			return spec.Env
		}
	}
	home := "/"
	if spec.UID == 0 {
		home = "/root"
	}
	return append(append([]string{}, spec.Env...), "HOME="+home)
}

// defaultPath is searched where the environment has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// candidates are the files that the first argument may mean.
func candidates(spec *wire.Process) []string {
	program := spec.Args[0]
	if strings.Contains(program, "/") {
		return []string{program}
	}
	search := defaultPath
	for _, v := range spec.Env {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			search = value
		}
	}
	var list []string
	for _, dir := range strings.Split(search, ":") {
		list = append(list, path.Join("/", dir, program))
	}
	return list
}

// extraProgram is the start of one more process in a running container.
func (a *agent) extraProgram(c *container, spec *wire.Process, s *stdio, pidfd int) (*launch.Program, func(), error) {
	group, err := c.cgroup.open()
	if err != nil {
		return nil, nil, fmt.Errorf("open the control group: %w", err)
	}
	p := launch.New(0, int(group.Fd()))
	p.InPIDNamespaceOf(pidfd)
	files(p, s)
	oomScore(p, spec)
	p.Join(pidfd, unix.CLONE_NEWNS|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS|unix.CLONE_NEWCGROUP)
	a.users.owner(p)
	prepare(p, spec)
	a.users.enter(p, false)
	a.become(p, spec)
	return p, func() { group.Close() }, nil
}

// startError says why a process did not start in words that users know.
func startError(err error, program string) error {
	var failed *launch.Error
	if !errors.As(err, &failed) || !failed.Exec {
		return fmt.Errorf("start the process: %w", err)
	}
	switch {
	case errors.Is(failed.Errno, unix.ENOENT) && !strings.Contains(program, "/"):
		return fmt.Errorf("exec: %q: executable file not found in $PATH", program)
	case errors.Is(failed.Errno, unix.ENOENT):
		return fmt.Errorf("exec: %q: stat %s: no such file or directory", program, program)
	}
	return fmt.Errorf("exec %s: %w", program, &os.PathError{Op: "exec", Path: program, Err: failed.Errno})
}
