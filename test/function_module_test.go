package test

import "encoding/binary"

// greeter is a WebAssembly module that answers a greeting of what it reads, and
// says that it was called. It is written out here because compilers make modules
// that are larger than a function's source may be.
func greeter(greeting string) string {
	section := func(id byte, content string) string { return string([]byte{id, byte(len(content))}) + content }
	name := func(s string) string { return string([]byte{byte(len(s))}) + s }
	vector := func(at, length uint32) string {
		return string(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, at), length))
	}
	const (
		called         = "called with "
		text, log, end = 48, 64, 96 // where what is written is
		input          = 128        // where what is read is
		one, count     = "\x41\x01", "\x41\xb0\x09"
		toAnswer, read = "\x41\x01", "\x41\x00"
		toLog          = "\x41\x02"
		write, take    = "\x10\x01\x1a", "\x10\x00\x1a" // call, and drop what it returns
	)
	start := "\x00" + // no variables
		toAnswer + "\x41\x00" + one + count + write + // the vector at 0, the greeting
		read + "\x41\x08" + one + "\x41\x0c" + take + // into that at 8, and its length as well
		toAnswer + "\x41\x08" + one + count + write +
		toLog + "\x41\x10" + one + count + write + // the vector at 16
		toLog + "\x41\x08" + one + count + write +
		toLog + "\x41\x18" + one + count + write + "\x0b" // the vector at 24
	memory := make([]byte, input)
	copy(memory, vector(text, uint32(len(greeting)))+vector(input, 1024)+vector(log, uint32(len(called)))+vector(end, 1))
	copy(memory[text:], greeting)
	copy(memory[log:], called)
	memory[end] = '\n'
	wasi := name("wasi_snapshot_preview1")
	data := "\x01\x00\x41\x00\x0b\x80\x01" + string(memory)
	return "\x00asm\x01\x00\x00\x00" +
		section(1, "\x02\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x00\x00") +
		section(2, "\x02"+wasi+name("fd_read")+"\x00\x00"+wasi+name("fd_write")+"\x00\x00") +
		section(3, "\x01\x01") +
		section(5, "\x01\x00\x01") +
		section(7, "\x02"+name("memory")+"\x02\x00"+name("_start")+"\x00\x02") +
		section(10, "\x01"+name(start)) +
		"\x0b\x87\x01" + data
}
