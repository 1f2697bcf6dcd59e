// Package share gives a virtual machine one folder of the host, as hostPath
// and local volumes need: the machine's file operations (the kernel's FUSE
// protocol) are carried out by a process of the folder's own.
//
// That process sees the folder as its root and nothing else of the host: no
// link in the folder can lead out of it, however the guest changes links while
// it is served. It has no network, no other processes in sight, and of root's
// powers only those over files. Where a volume is read-only, it is so for the
// process, whatever the guest's kernel believes.
//
// The process is this program again, started by Start; main calls Main when
// Asked. It ends with the context or with the process that started it.
package share

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/thread"
)

// ReadOnly says what of a folder cannot be written.
type ReadOnly string

const (
	Nothing    ReadOnly = "nothing"
	Top        ReadOnly = "top"        // the folder's own file system, not those mounted in it
	Everything ReadOnly = "everything" // those too
)

// Folder is what is shared.
type Folder struct {
	Path     string
	ReadOnly ReadOnly
	// Follow shows what the host mounts in the folder later on.
	Follow bool
}

// name is the process's; it is how the program knows what it is started for.
const name = "redoubt-share"

// ready is the first byte that the process sends.
const ready = 1

// Start starts the folder's process and returns the connection on which it
// takes FUSE requests and answers them. Each begins with its length, as the
// protocol has it. The process ends with ctx.
func Start(ctx context.Context, f Folder) (net.Conn, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, fmt.Errorf("share %s: %w", f.Path, err)
	}
	defer theirs.Close()
	var said bytes.Buffer
	ended, err := spawn(ctx, f, theirs, &said)
	if err == nil {
		theirs.Close()
		err = await(ours, ended, &said)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("share %s: %w", f.Path, err), ours.Close())
	}
	return ours, nil
}

func pair() (ours net.Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	own := os.NewFile(uintptr(fds[0]), name)
	theirs = os.NewFile(uintptr(fds[1]), name)
	ours, err = net.FileConn(own) // a duplicate
	if err = errors.Join(err, own.Close()); err != nil {
		theirs.Close()
	}
	return ours, theirs, err
}

// spawn starts the process.
func spawn(ctx context.Context, f Folder, connection *os.File, said *bytes.Buffer) (ended <-chan struct{}, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	follow := ""
	if f.Follow {
		follow = "follow"
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Args = []string{name, f.Path, string(f.ReadOnly), follow}
	cmd.Env = []string{"GOMAXPROCS=2"}
	cmd.Stderr = said
	cmd.ExtraFiles = []*os.File{connection}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
	}
	return thread.Start(cmd) // it ends when nobody needs it any more
}

// await waits until the process serves, or has said why it does not.
func await(conn net.Conn, ended <-chan struct{}, said *bytes.Buffer) error {
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err == nil && first[0] == ready {
		return nil
	}
	<-ended
	return errors.New(strings.TrimSpace(said.String()))
}
