package spec

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

// kernelTypes are the file systems that the guest makes by itself.
var kernelTypes = map[string]string{
	"proc": "proc", "sysfs": "sysfs", "tmpfs": "tmpfs", "devpts": "devpts", "mqueue": "mqueue",
	"cgroup": "cgroup2", "cgroup2": "cgroup2",
}

var mountFlags = map[string]uint64{
	"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"sync": unix.MS_SYNCHRONOUS, "dirsync": unix.MS_DIRSYNC, "noatime": unix.MS_NOATIME,
	"nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME, "strictatime": unix.MS_STRICTATIME,
}

// noData are options that are neither flags nor the file system's: they say
// how mounts spread between namespaces, of which the guest has its own, or
// take a flag back.
var noData = map[string]bool{
	"rw": true, "suid": true, "dev": true, "exec": true, "bind": true, "rbind": true, "async": true, "atime": true,
	"private": true, "rprivate": true, "slave": true, "rslave": true, "shared": true, "rshared": true,
	"unbindable": true, "runbindable": true, "defaults": true, "rro": true, "tmpcopyup": true,
}

// mounts divides list into what the guest makes and what is the host's.
func mounts(list []specs.Mount) (guest []wire.Mount, host []specs.Mount, err error) {
	for _, m := range list {
		flags, data := options(m.Options)
		kind, own := kernelTypes[m.Type]
		switch {
		case m.Type == "bind" || bound(m.Options):
			host = append(host, m)
			// Its place in the order is kept: an earlier mount may be over it.
			guest = append(guest, wire.Mount{Target: m.Destination, Volume: m.Source, Flags: flags})
		case own:
			if kind == "cgroup2" {
				data = ""
			}
			if kind == "devpts" || kind == "mqueue" {
				data = ""
			}
			guest = append(guest, wire.Mount{Target: m.Destination, Type: kind, Flags: flags, Data: data})
		default:
			return nil, nil, fmt.Errorf("%w: mount %s: a microVM has no file system %q", errdefs.ErrInvalidArgument, m.Destination, m.Type)
		}
	}
	return guest, host, nil
}

func bound(list []string) bool {
	for _, o := range list {
		if o == "bind" || o == "rbind" {
			return true
		}
	}
	return false
}

func options(list []string) (flags uint64, data string) {
	var rest []string
	for _, o := range list {
		if flag, ok := mountFlags[o]; ok {
			flags |= flag
		} else if !noData[o] {
			rest = append(rest, o)
		}
	}
	return flags, strings.Join(rest, ",")
}
