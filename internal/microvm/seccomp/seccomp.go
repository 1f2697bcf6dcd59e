// Package seccomp compiles a container's seccomp profile into the program that
// the kernel runs, on the host, so that a guest needs no compiler and runs no
// code to have a filter.
//
// The profile has one meaning for the 64-bit system calls of the processor.
// Those of other kinds (32-bit, x32) are refused with ENOSYS: a profile that
// names them names the same calls by other numbers, and nothing that a pod is
// built for today needs them.
package seccomp

import (
	"encoding/binary"
	"fmt"

	"github.com/elastic/go-seccomp-bpf/arch"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// maxInstructions is the kernel's limit (BPF_MAXINSNS).
const maxInstructions = 4096

// Offsets in the kernel's struct seccomp_data.
const (
	numberOffset   = 0
	archOffset     = 4
	argumentOffset = 16
)

// x32 marks the numbers of that kind of system call.
const x32 = 0x40000000

// Compile returns the filter as the kernel's struct sock_filter, 8 bytes each,
// least significant byte first. A nil profile gives none.
func Compile(profile *specs.LinuxSeccomp) ([]byte, error) {
	if profile == nil {
		return nil, nil
	}
	fallback, err := action(profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("default action: %w", err)
	}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: archOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(arch.X86_64.ID), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)},
		bpf.LoadAbsolute{Off: numberOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: x32, SkipFalse: 1},
		bpf.RetConstant{Val: uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)},
	}
	for i := range profile.Syscalls {
		rule, err := compileRule(&profile.Syscalls[i], fallback)
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i, err)
		}
		program = append(program, rule...)
	}
	program = append(program, bpf.RetConstant{Val: fallback})
	if len(program) > maxInstructions {
		return nil, fmt.Errorf("the profile needs %d instructions: the kernel takes %d", len(program), maxInstructions)
	}
	return assemble(program)
}

func assemble(program []bpf.Instruction) ([]byte, error) {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("assemble: %w", err)
	}
	out := make([]byte, 0, 8*len(raw))
	for _, r := range raw {
		out = binary.LittleEndian.AppendUint16(out, r.Op)
		out = append(out, r.Jt, r.Jf)
		out = binary.LittleEndian.AppendUint32(out, r.K)
	}
	return out, nil
}

// action is what the kernel does with a call.
func action(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	data := uint32(unix.EPERM)
	if errno != nil {
		data = uint32(*errno)
	}
	switch a {
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO | data&unix.SECCOMP_RET_DATA, nil
	case specs.ActTrace:
		return unix.SECCOMP_RET_TRACE | data&unix.SECCOMP_RET_DATA, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	}
	return 0, fmt.Errorf("action %q is not supported in a microVM; use SCMP_ACT_ALLOW, _ERRNO, _KILL, _LOG, _TRAP or _TRACE", a)
}

// compileRule is one rule's test and answer. With the call's number loaded
// before and after it, rules can follow each other in any number.
func compileRule(rule *specs.LinuxSyscall, fallback uint32) ([]bpf.Instruction, error) {
	verdict, err := action(rule.Action, rule.ErrnoRet)
	if err != nil {
		return nil, err
	}
	if verdict == fallback {
		return nil, nil // as the kernel would answer anyway
	}
	var program []bpf.Instruction
	for _, name := range rule.Names {
		number, known := arch.X86_64.SyscallNames[name]
		if !known {
			continue // a call of other processors or of newer kernels
		}
		body, err := conditions(rule.Args)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		body = append(body, bpf.RetConstant{Val: verdict})
		if len(rule.Args) > 0 {
			// Where a condition does not hold.
			body = append(body, bpf.LoadAbsolute{Off: numberOffset, Size: 4})
		}
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(number), SkipTrue: uint8(len(body))})
		program = append(program, body...)
	}
	return program, nil
}

// conditions falls through when all hold and jumps over the one instruction
// after it when one does not.
func conditions(args []specs.LinuxSeccompArg) ([]bpf.Instruction, error) {
	var parts [][]bpf.Instruction
	length := 0
	for _, arg := range args {
		part, err := condition(arg)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		length += len(part)
	}
	if length > 200 {
		return nil, fmt.Errorf("%d conditions are too many", len(args))
	}
	var program []bpf.Instruction
	for _, part := range parts {
		program = append(program, part...)
	}
	return resolve(program), nil
}

// Marks in a jump's distance that resolve replaces.
const (
	toFailure = 255
	toNext    = 254
)

// condition compares one argument, a 64-bit number that is read as two halves:
// the high one decides unless it is equal.
func condition(arg specs.LinuxSeccompArg) ([]bpf.Instruction, error) {
	if arg.Index > 5 {
		return nil, fmt.Errorf("argument %d: a system call has 6", arg.Index)
	}
	low := uint32(argumentOffset + 8*arg.Index)
	loadLow, loadHigh := bpf.LoadAbsolute{Off: low, Size: 4}, bpf.LoadAbsolute{Off: low + 4, Size: 4}
	high, lowValue := uint32(arg.Value>>32), uint32(arg.Value)
	if arg.Op == specs.OpMaskedEqual {
		return []bpf.Instruction{
			loadHigh, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: high},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(arg.ValueTwo >> 32), SkipTrue: toFailure},
			loadLow, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: lowValue},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(arg.ValueTwo), SkipTrue: toFailure},
			next{},
		}, nil
	}
	if arg.Op == specs.OpEqualTo {
		return []bpf.Instruction{
			loadHigh, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: high, SkipTrue: toFailure},
			loadLow, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: lowValue, SkipTrue: toFailure},
			next{},
		}, nil
	}
	if arg.Op == specs.OpNotEqual {
		return []bpf.Instruction{
			loadHigh, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: high, SkipTrue: toNext},
			loadLow, bpf.JumpIf{Cond: bpf.JumpEqual, Val: lowValue, SkipTrue: toFailure},
			next{},
		}, nil
	}
	return ordering(arg.Op, loadHigh, loadLow, high, lowValue)
}

func ordering(op specs.LinuxSeccompOperator, loadHigh, loadLow bpf.LoadAbsolute, high, low uint32) ([]bpf.Instruction, error) {
	// Decided by the high halves, or else by the low ones.
	holds, fails, last := bpf.JumpGreaterThan, bpf.JumpLessThan, bpf.JumpGreaterThan
	switch op {
	case specs.OpGreaterThan:
	case specs.OpGreaterEqual:
		last = bpf.JumpGreaterOrEqual
	case specs.OpLessThan:
		holds, fails, last = bpf.JumpLessThan, bpf.JumpGreaterThan, bpf.JumpLessThan
	case specs.OpLessEqual:
		holds, fails, last = bpf.JumpLessThan, bpf.JumpGreaterThan, bpf.JumpLessOrEqual
	default:
		return nil, fmt.Errorf("comparison %q is not known", op)
	}
	return []bpf.Instruction{
		loadHigh,
		bpf.JumpIf{Cond: holds, Val: high, SkipTrue: toNext},
		bpf.JumpIf{Cond: fails, Val: high, SkipTrue: toFailure},
		loadLow,
		bpf.JumpIf{Cond: last, Val: low, SkipFalse: toFailure},
		next{},
	}, nil
}

// next marks where a condition that holds goes on; it becomes no instruction.
type next struct{}

// Assemble makes next an Instruction. It is never assembled.
func (next) Assemble() (bpf.RawInstruction, error) {
	return bpf.RawInstruction{}, fmt.Errorf("a mark is no instruction")
}

// resolve turns marks into distances. Failure is the place after the one
// instruction that follows the program.
func resolve(marked []bpf.Instruction) []bpf.Instruction {
	var program []bpf.Instruction
	var ends []int // where each condition goes on, in order
	var owner []int
	for _, in := range marked {
		if _, mark := in.(next); mark {
			ends = append(ends, len(program))
			continue
		}
		owner = append(owner, len(ends))
		program = append(program, in)
	}
	for i, in := range program {
		jump, ok := in.(bpf.JumpIf)
		if !ok {
			continue
		}
		distance := func(mark uint8) uint8 {
			switch mark {
			case toFailure:
				return uint8(len(program) + 1 - (i + 1))
			case toNext:
				return uint8(ends[owner[i]] - (i + 1))
			}
			return mark
		}
		jump.SkipTrue, jump.SkipFalse = distance(jump.SkipTrue), distance(jump.SkipFalse)
		program[i] = jump
	}
	return program
}
