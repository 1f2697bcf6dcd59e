package probe

import "golang.org/x/sys/unix"

// harmful without arguments are the calls that end or double the process, wait for
// ever, or do what concerns others.
var harmful = []int{
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_RT_SIGRETURN, unix.SYS_RESTART_SYSCALL,
	unix.SYS_SYNC, unix.SYS_VHANGUP,
}
