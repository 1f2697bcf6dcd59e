package launch

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Privileges are what a process may do.
type Privileges struct {
	UID, GID   uint32
	Groups     []uint32
	NoNewPrivs bool
	Seccomp    []byte // struct sock_filter, 8 bytes each; empty is no filter
	// Sets of capabilities, one bit for each number.
	Bounding, Effective, Permitted, Inheritable, Ambient uint64
}

// Drop takes the process's privileges down to these. The order matters: a
// filter can be installed either with a capability that is about to go or
// with no_new_privs, and capabilities survive the change of user only when
// asked for.
func (p *Program) Drop(to Privileges, lastCap int) {
	if len(to.Seccomp) > 0 && !to.NoNewPrivs {
		p.seccomp(to.Seccomp)
	}
	for c := range lastCap + 1 {
		if to.Bounding&(1<<c) == 0 {
			p.add("drop a capability", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c))
		}
	}
	p.user(to)
	p.capabilities(to, lastCap)
	if to.NoNewPrivs {
		p.add("set no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
		if len(to.Seccomp) > 0 {
			p.seccomp(to.Seccomp)
		}
	}
}

func (p *Program) user(to Privileges) {
	groups := append([]uint32{}, to.Groups...)
	groups = append(groups, 0) // never empty, so that it has an address
	p.keep = append(p.keep, &groups[0])
	p.add("keep capabilities", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1)
	p.add("set groups", unix.SYS_SETGROUPS, uintptr(len(to.Groups)), pointer(&groups[0]))
	p.add("set the group", unix.SYS_SETRESGID, uintptr(to.GID), uintptr(to.GID), uintptr(to.GID))
	p.add("set the user", unix.SYS_SETRESUID, uintptr(to.UID), uintptr(to.UID), uintptr(to.UID))
	p.add("keep capabilities", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0)
}

func (p *Program) capabilities(to Privileges, lastCap int) {
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := &[2]unix.CapUserData{}
	for half := range data {
		shift := 32 * half
		data[half] = unix.CapUserData{
			Effective:   uint32(to.Effective >> shift),
			Permitted:   uint32(to.Permitted >> shift),
			Inheritable: uint32(to.Inheritable >> shift),
		}
	}
	p.keep = append(p.keep, header, data)
	p.add("set capabilities", unix.SYS_CAPSET, pointer(header), pointer(data))
	for c := range lastCap + 1 {
		if to.Ambient&(1<<c) != 0 {
			p.add("set ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c))
		}
	}
}

// seccomp installs a filter of whole instructions.
func (p *Program) seccomp(filter []byte) {
	code := make([]unix.SockFilter, 0, len(filter)/8)
	for ; len(filter) >= 8; filter = filter[8:] {
		code = append(code, unix.SockFilter{
			Code: binary.LittleEndian.Uint16(filter),
			Jt:   filter[2],
			Jf:   filter[3],
			K:    binary.LittleEndian.Uint32(filter[4:]),
		})
	}
	if len(code) == 0 {
		return
	}
	program := &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	p.keep = append(p.keep, program)
	p.add("install the seccomp filter", unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, pointer(program))
}
