package main

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Offsets in struct bpf_sk_lookup (linux/bpf.h).
const (
	lookupFamily    = 8
	lookupProtocol  = 12
	lookupLocalIP4  = 40 // in network byte order
	lookupInterface = 64
)

// loopbackIndex is the loopback's in every network namespace.
const loopbackIndex = 1

// redirectLoopback gives l every TCP connection over the loopback of the
// network namespace ns, whatever the port. It does so where the kernel looks
// for the socket of a new connection (since Linux 5.9): no packet that the pod
// itself exchanges passes it, and unlike firewall rules it is gone with the
// process that holds it.
func redirectLoopback(ns int, l *net.TCPListener) (_ io.Closer, err error) {
	sockets, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.SockMap, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("make the map of sockets: %w", err)
	}
	defer sockets.Close() // the program holds it
	if err := store(sockets, l); err != nil {
		return nil, err
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "port_forward",
		Type:         ebpf.SkLookup,
		AttachType:   ebpf.AttachSkLookup,
		Instructions: choose(sockets),
		License:      "MIT",
	})
	if err != nil {
		return nil, fmt.Errorf("load the redirection: %w", err)
	}
	defer program.Close() // the link holds it
	attached, err := link.AttachNetNs(ns, program)
	if err != nil {
		return nil, fmt.Errorf("attach the redirection: %w", err)
	}
	return attached, nil
}

func store(sockets *ebpf.Map, l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var putErr error
	err = raw.Control(func(fd uintptr) { putErr = sockets.Put(uint32(0), uint64(fd)) })
	if err := errors.Join(err, putErr); err != nil {
		return fmt.Errorf("store the listening socket: %w", err)
	}
	return nil
}

// choose is the program: TCP over IPv4 to 127.0.0.0/8 that came over the
// loopback goes to the only socket of the map, all else where it would go.
func choose(sockets *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, lookupFamily, asm.Word),
		asm.JNE.Imm(asm.R2, unix.AF_INET, "pass"),
		asm.LoadMem(asm.R2, asm.R6, lookupProtocol, asm.Word),
		asm.JNE.Imm(asm.R2, unix.IPPROTO_TCP, "pass"),
		asm.LoadMem(asm.R2, asm.R6, lookupInterface, asm.Word),
		asm.JNE.Imm(asm.R2, loopbackIndex, "pass"),
		asm.LoadMem(asm.R2, asm.R6, lookupLocalIP4, asm.Word),
		asm.HostTo(asm.BE, asm.R2, asm.Word),
		asm.RSh.Imm(asm.R2, 24),
		asm.JNE.Imm(asm.R2, 127, "pass"),

		asm.StoreImm(asm.RFP, -4, 0, asm.Word), // the map's key
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, sockets.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),

		asm.Mov.Reg(asm.R7, asm.R0),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnSkAssign.Call(),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.FnSkRelease.Call(),

		asm.Mov.Imm(asm.R0, 1).WithSymbol("pass"), // SK_PASS
		asm.Return(),
	}
}
