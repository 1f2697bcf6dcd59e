package guest

import (
	"path/filepath"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

// watchMemory reports each time that the kernel kills a process of c for
// memory, until c's first process ends.
func (a *agent) watchMemory(c *container) {
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return // Wait still tells what happened
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, filepath.Join(c.cgroup.path, "memory.events"), unix.IN_MODIFY); err != nil {
		return
	}
	ended, running := c.init.descriptor()
	if !running {
		return
	}
	defer unix.Close(ended)
	fds := []unix.PollFd{{Fd: int32(watch), Events: unix.POLLIN}, {Fd: int32(ended), Events: unix.POLLIN}}
	seen := uint64(0)
	for fds[1].Revents == 0 {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
		}
		var drain [4096]byte
		_, _ = unix.Read(watch, drain[:])
		if kills := c.cgroup.oomKills(); kills > seen {
			seen = kills
			a.report(wire.Event{ID: c.spec.ID, Kind: wire.OutOfMemory})
		}
	}
}

// report queues an event; when nobody has read many, the news is old.
func (a *agent) report(e wire.Event) {
	select {
	case a.events <- e:
	default:
	}
}

// watch sends events to the host.
func (a *agent) watch(*wire.Empty) (func(wire.Stream), error) {
	return func(stream wire.Stream) {
		for e := range a.events {
			if wire.WriteEvent(stream, &e) != nil {
				return
			}
		}
	}, nil
}
