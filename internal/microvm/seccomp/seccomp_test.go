package seccomp

import (
	"encoding/binary"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// run is what the filter answers to a call.
func run(t *testing.T, filter []byte, audit uint32, number uint32, args ...uint64) uint32 {
	t.Helper()
	var program []bpf.Instruction
	for ; len(filter) > 0; filter = filter[8:] {
		program = append(program, bpf.RawInstruction{
			Op: binary.LittleEndian.Uint16(filter), Jt: filter[2], Jf: filter[3], K: binary.LittleEndian.Uint32(filter[4:]),
		}.Disassemble())
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	// The test machine reads as networks do, most significant byte first.
	data := binary.BigEndian.AppendUint32(nil, number)
	data = binary.BigEndian.AppendUint32(data, audit)
	data = append(data, make([]byte, 8)...)
	for i := range 6 {
		var v uint64
		if i < len(args) {
			v = args[i]
		}
		data = binary.BigEndian.AppendUint32(data, uint32(v))
		data = binary.BigEndian.AppendUint32(data, uint32(v>>32))
	}
	// VM.Run returns how much of a packet to keep, which is the verdict here.
	verdict, err := vm.Run(append(data, make([]byte, 1)...))
	if err != nil {
		t.Fatal(err)
	}
	return uint32(verdict)
}

func TestCompile(t *testing.T) {
	enosys := uint(unix.ENOSYS)
	allow, eperm := uint32(unix.SECCOMP_RET_ALLOW), uint32(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))
	x86 := uint32(arch.X86_64.ID)
	filter, err := Compile(&specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		Syscalls: []specs.LinuxSyscall{
			{Names: []string{"read", "write", "no_such_call"}, Action: specs.ActAllow},
			{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &enosys},
			{Names: []string{"clone"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 0x7e020000, ValueTwo: 0, Op: specs.OpMaskedEqual}}},
			{Names: []string{"personality"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 8, Op: specs.OpEqualTo}}},
			{Names: []string{"personality"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 1<<32 | 5, Op: specs.OpEqualTo}}},
			{Names: []string{"socket"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 40, Op: specs.OpNotEqual}, {Index: 1, Value: 1 << 33, Op: specs.OpLessThan}}},
			{Names: []string{"dup"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 10, Op: specs.OpGreaterEqual}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		number uint32
		args   []uint64
		want   uint32
	}{
		{"read", unix.SYS_READ, nil, allow},
		{"write", unix.SYS_WRITE, nil, allow},
		{"open", unix.SYS_OPEN, nil, eperm},
		{"clone3", unix.SYS_CLONE3, nil, unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{"clone of a thread", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_THREAD}, allow},
		{"clone of a namespace", unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER}, eperm},
		{"personality 8", unix.SYS_PERSONALITY, []uint64{8}, allow},
		{"personality high", unix.SYS_PERSONALITY, []uint64{1<<32 | 5}, allow},
		{"personality low half", unix.SYS_PERSONALITY, []uint64{5}, eperm},
		{"socket", unix.SYS_SOCKET, []uint64{2, 1}, allow},
		{"socket high first", unix.SYS_SOCKET, []uint64{1<<40 | 40, 1}, allow},
		{"socket 40", unix.SYS_SOCKET, []uint64{40, 1}, eperm},
		{"socket second", unix.SYS_SOCKET, []uint64{2, 1 << 33}, eperm},
		{"dup 9", unix.SYS_DUP, []uint64{9}, eperm},
		{"dup 10", unix.SYS_DUP, []uint64{10}, allow},
		{"dup large", unix.SYS_DUP, []uint64{1 << 32}, allow},
		{"x32", x32 | unix.SYS_READ, nil, unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
	} {
		if got := run(t, filter, x86, c.number, c.args...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
	if got := run(t, filter, uint32(arch.I386.ID), 3); got != unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS) {
		t.Errorf("a 32-bit call: %#x", got)
	}
}

func TestCompileRefuses(t *testing.T) {
	if _, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActNotify}); err == nil {
		t.Error("a profile that asks the host's supervisor was taken")
	}
	if filter, err := Compile(nil); err != nil || filter != nil {
		t.Errorf("no profile: %v, %v", filter, err)
	}
}
