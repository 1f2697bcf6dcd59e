package share

import (
	"context"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or folder of the share, and refuses what a guest's kernel
// never asks for, but a guest may.
type node struct{ *fs.LoopbackNode }

// WrapChild makes nodes of all that is found below.
func (n *node) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{ops.(*fs.LoopbackNode)}
}

// Open opens no device. A guest's kernel has devices of its own behind the
// files; these would be the node's. Mounts keep them shut (see protect), but not
// those that come later.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if n.isDevice("") {
		return nil, 0, syscall.EACCES
	}
	file, how, errno := n.LoopbackNode.Open(ctx, flags)
	if errno == 0 {
		errno = noDevice(ctx, file)
	}
	if errno != 0 {
		return nil, 0, errno
	}
	return file, how, 0
}

// Create opens what is there already, too.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if n.isDevice(name) {
		return nil, nil, 0, syscall.EACCES
	}
	child, file, how, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno == 0 {
		errno = noDevice(ctx, file)
	}
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return child, file, how, 0
}

// Ioctl is refused: the guest would choose the call and its argument, which may
// be an address in this process.
func (n *node) Ioctl(context.Context, fs.FileHandle, uint32, uint64, []byte, []byte) (int32, syscall.Errno) {
	return 0, syscall.ENOTTY
}

// isDevice says whether the node, or name in it, is a device at the moment.
func (n *node) isDevice(name string) bool {
	var s syscall.Stat_t
	err := syscall.Stat(filepath.Join(n.RootData.Path, n.Path(n.Root()), name), &s)
	return err == nil && device(s.Mode)
}

// noDevice closes file if it is a device, which may have got the name since.
func noDevice(ctx context.Context, file fs.FileHandle) syscall.Errno {
	opened := file.(*fs.LoopbackFile)
	var is fuse.AttrOut
	errno := opened.Getattr(ctx, &is)
	if errno == 0 && device(is.Mode) {
		errno = syscall.EACCES
	}
	if errno != 0 {
		_ = opened.Release(ctx)
	}
	return errno
}

func device(mode uint32) bool {
	kind := mode & syscall.S_IFMT
	return kind == syscall.S_IFCHR || kind == syscall.S_IFBLK
}
