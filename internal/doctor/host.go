package doctor

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Host is what is known of a machine.
type Host struct {
	// Files is its root file system. Only /proc, /sys and /lib/modules are
	// read.
	Files fs.FS
	// User is the effective user id.
	User int
	// Capabilities are the effective ones, a bit each (capabilities(7)).
	Capabilities uint64
	// Programs are those of the programs asked for that $PATH has.
	Programs map[string]bool
	// Engine lists the upstream programs that are missing in EngineDir.
	EngineDir     string
	EngineMissing []string
	// Tried holds what came of trying each feature: nil when it works.
	Tried    map[Feature]error
	Machines Machines
	// DataDir is where an instance would keep its data, and Free what is left
	// on its file system, in bytes.
	DataDir string
	Free    uint64
	// Files that this process may open, at most.
	OpenFiles uint64
	// InotifyUsed is how many inotify instances root has open.
	InotifyUsed int
	// Ports are those that an instance would listen on.
	Ports []Port
}

// Feature is something of the kernel that only trying proves.
type Feature string

const (
	// Overlay mounts an overlay file system in the data folder.
	Overlay Feature = "overlay"
	// Links makes a network namespace with a pair of virtual links.
	Links Feature = "links"
	// Rules loads the kinds of packet-filter rules that services need.
	Rules Feature = "rules"
	// Tap opens a virtual network card.
	Tap Feature = "tap"
	// Users shows the files of the data folder, and files in memory, to a user
	// namespace.
	Users Feature = "users"
	// Groups makes and removes a control group in every hierarchy.
	Groups Feature = "groups"
)

// Port is one of the host's ports that an instance listens on.
type Port struct {
	Flag   string
	Number int
	// Own says that the instance itself runs and holds it.
	Own bool
	// Err is why it cannot be listened on.
	Err error
}

// read returns a file without the newline at its end, "" when it cannot be
// read.
func (h Host) read(path string) string {
	data, err := fs.ReadFile(h.Files, path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// number reads a file that holds a number; ok is false when it does not.
func (h Host) number(path string) (n int, ok bool) {
	n, err := strconv.Atoi(h.read(path))
	return n, err == nil
}

func (h Host) exists(path string) bool {
	_, err := fs.Stat(h.Files, path)
	return err == nil
}

func (h Host) can(capability int) bool { return h.Capabilities&(1<<capability) != 0 }

// tried judges a feature whose absence means level.
func (h Host) tried(f Feature, works, remedy string, level Level) Finding {
	err, known := h.Tried[f]
	switch {
	case !known:
		return warning("run it again as root", "not tried")
	case err == nil:
		return passed("%s", works)
	case h.User != 0 && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)):
		return warning("run it again as root: sudo redoubt doctor", "cannot be tried as an ordinary user")
	}
	return Finding{Level: level, Detail: err.Error(), Remedy: remedy}
}
