package main

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestRulesAnswerNoSuchCall(t *testing.T) {
	nosys, perm := uint(unix.ENOSYS), uint(unix.EPERM)
	filter := &specs.LinuxSeccomp{Syscalls: []specs.LinuxSyscall{
		{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &nosys},
		{Names: []string{"mount"}, Action: specs.ActErrno, ErrnoRet: &perm},
		{Names: []string{"bpf"}, Action: specs.ActErrno},
		{Names: []string{"read"}, Action: specs.ActAllow},
	}}
	answerNoSuchCall(filter)
	for i, want := range []specs.LinuxSeccompAction{specs.ActTrace, specs.ActErrno, specs.ActErrno, specs.ActAllow} {
		if got := filter.Syscalls[i].Action; got != want {
			t.Errorf("%v: %s, want %s", filter.Syscalls[i].Names, got, want)
		}
	}
	answerNoSuchCall(nil) // a container without a filter
}
