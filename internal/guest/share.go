package guest

import (
	"errors"
	"fmt"
	"os"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

// mountShare mounts at dir what the host will serve, and returns the kernel's
// requests for it.
func mountShare(dir string) (*os.File, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/fuse: %w", err)
	}
	// The kernel checks permissions, as for any file system.
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", fd)
	if err := unix.Mount("host", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// Only now can requests be waited for: before the mount there is nothing
	// that would tell of them.
	return os.NewFile(uintptr(fd), "/dev/fuse"), nil
}

// files carries a shared volume's requests to the host, and its answers back.
func (a *agent) files(r *wire.Ref) (func(wire.Stream), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v, ok := a.volumes[r.ID]
	if !ok || v.requests == nil {
		return nil, fmt.Errorf("%w: shared volume %s", errdefs.ErrNotFound, r.ID)
	}
	requests := v.requests
	v.requests = nil // they are carried once
	return func(stream wire.Stream) {
		// Without its carrier the file system fails at once instead of hanging.
		defer requests.Close()
		go answers(requests, stream)
		buffer := make([]byte, wire.MaxFileFrame)
		for {
			n, err := requests.Read(buffer)
			if errors.Is(err, unix.ENOENT) { // it was interrupted before it could be read
				continue
			}
			if err != nil {
				return
			}
			if _, err := stream.Write(buffer[:n]); err != nil {
				return
			}
		}
	}, nil
}

func answers(requests *os.File, stream wire.Stream) {
	defer requests.Close()
	for {
		frame, err := wire.ReadFileFrame(stream)
		if err != nil {
			return
		}
		// An answer that nobody waits for any more is refused.
		_, _ = requests.Write(frame)
	}
}
