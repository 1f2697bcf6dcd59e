package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// exits is a program for x86-64 that ends at once: exit_group(0).
var exits = []byte{
	0xb8, 0xe7, 0x00, 0x00, 0x00, // mov eax, 231
	0x31, 0xff, // xor edi, edi
	0x0f, 0x05, // syscall
}

// program puts machine code into an executable file of one segment (elf(5)).
func program(code []byte) []byte {
	const address, headers = 0x400000, 64 + 56
	var out bytes.Buffer
	for _, field := range []any{
		[]byte("\x7fELF\x02\x01\x01"), make([]byte, 9), uint16(2), uint16(62), uint32(1), // 64 bits, executable, x86-64
		uint64(address + headers), uint64(64), uint64(0), uint32(0), // entry, program headers, no sections
		uint16(64), uint16(56), uint16(1), uint16(64), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(address), uint64(address), // loaded, read and executed
		uint64(headers + len(code)), uint64(headers + len(code)), uint64(4096),
		code,
	} {
		_ = binary.Write(&out, binary.LittleEndian, field) // fixed sizes, to memory
	}
	return out.Bytes()
}

// rehearsal is the layer of the container that spare machines run to try
// everything once. It has one program, and the folders that a container's
// mounts want.
func rehearsal() ([]byte, error) {
	dir, err := os.MkdirTemp("", "redoubt-rehearsal-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(tree, "rehearsal"), program(exits), 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "layer")
	// As containerd does, content in blocks of its own: it is read in other ways
	// than what is beside a file's name.
	mkfs := exec.Command("mkfs.erofs", "--quiet", "-Enoinline_data", "--all-root", "-T0", "-U00000000-0000-0000-0000-000000000000", file, tree)
	if out, err := mkfs.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a layer (install mkfs.erofs with: apt-get install erofs-utils): %w: %s", err, out)
	}
	return os.ReadFile(file)
}
