package main

import (
	"bytes"
	"fmt"
)

// archive is a cpio archive in the "newc" format, which the kernel unpacks
// (Documentation/driver-api/early-userspace/buffer-format.rst). Owners are
// root and times are zero: the same content gives the same bytes.
type archive struct {
	buf   bytes.Buffer
	inode int
}

// The file types of stat(2).
const (
	typeFolder = 0o040000
	typeFile   = 0o100000
	typeDevice = 0o020000
)

func (a *archive) folder(name string) { a.entry(name, typeFolder|0o755, 0, 0, nil) }
func (a *archive) file(name string, mode int, content []byte) {
	a.entry(name, typeFile|mode, 0, 0, content)
}
func (a *archive) device(name string, major, minor int) {
	a.entry(name, typeDevice|0o600, major, minor, nil)
}

// entry writes one header of 8-digit hexadecimal fields, the name and the
// content, each padded to four bytes.
func (a *archive) entry(name string, mode, major, minor int, content []byte) {
	a.inode++
	fmt.Fprintf(&a.buf, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0)
	a.buf.WriteString(name)
	a.buf.WriteByte(0)
	a.pad()
	a.buf.Write(content)
	a.pad()
}

func (a *archive) pad() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}

// bytes ends the archive and returns it.
func (a *archive) bytes() []byte {
	a.inode = -1
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	return a.buf.Bytes()
}
