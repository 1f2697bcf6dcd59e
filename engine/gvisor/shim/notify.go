package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withoutNotifications makes this process and all that it starts find the
// kernel without seccomp's notifications, as it was before Linux 5.0: asking
// for them is an invalid argument.
//
// gVisor asks its stub processes through them to change their memory, and takes
// a process for dead whose notification the kernel has taken back, which it does
// when a sandbox is frozen just then: a program that was at
// work when its pod was frozen died of SIGSEGV soon after it was thawed. Without
// notifications gVisor asks through futexes.
func withoutNotifications() error {
	const (
		number, operation, flags = 0, 16, 24 // struct seccomp_data
		newListener              = 1 << 3
	)
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	program := []unix.SockFilter{
		load(number), unless(unix.SYS_SECCOMP, 5),
		load(operation), unless(unix.SECCOMP_SET_MODE_FILTER, 3),
		load(flags), unless(newListener, 1),
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter))); errno != 0 {
		return fmt.Errorf("hide seccomp's notifications: %w", errno)
	}
	return nil
}
