package spec

import (
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/pkg/cap"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

func capabilities(c *specs.LinuxCapabilities) (wire.Capabilities, error) {
	var out wire.Capabilities
	if c == nil {
		return out, nil
	}
	for _, set := range []struct {
		names []string
		bits  *uint64
	}{
		{c.Bounding, &out.Bounding}, {c.Effective, &out.Effective}, {c.Permitted, &out.Permitted},
		{c.Inheritable, &out.Inheritable}, {c.Ambient, &out.Ambient},
	} {
		for _, name := range set.names {
			number, known := capabilityNumbers[name]
			if !known {
				return out, fmt.Errorf("%w: capability %s is not known", errdefs.ErrInvalidArgument, name)
			}
			*set.bits |= 1 << number
		}
	}
	return out, nil
}

// capabilityNumbers is the kernel's list (linux/capability.h), which
// containerd has in the order of the numbers.
var capabilityNumbers = func() map[string]int {
	numbers := map[string]int{}
	for i, name := range cap.Known() {
		numbers[name] = i
	}
	return numbers
}()

var limitNumbers = map[string]uint32{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
	"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}

func resourceLimits(list []specs.POSIXRlimit) ([]wire.ResourceLimit, error) {
	var out []wire.ResourceLimit
	for _, l := range list {
		number, known := limitNumbers[l.Type]
		if !known {
			return nil, fmt.Errorf("%w: resource limit %s is not known", errdefs.ErrInvalidArgument, l.Type)
		}
		out = append(out, wire.ResourceLimit{Kind: number, Soft: l.Soft, Hard: l.Hard})
	}
	return out, nil
}

// guestDevices are the character devices that mean the same in the guest:
// memory (1), terminals (5) and two of the miscellaneous (10).
func guestDevice(d specs.LinuxDevice) bool {
	const tun, fuse = 200, 229
	return d.Major == 1 && d.Minor != 1 && d.Minor != 2 && d.Minor != 4 || d.Major == 5 && d.Minor == 0 || d.Major == 10 && (d.Minor == tun || d.Minor == fuse)
}

// devices keeps the character devices that the guest's kernel has too, and the
// block devices that the pod was given as volumes, whose numbers are still the
// host's. A privileged container's specification may list all of the host's,
// which mean nothing in the guest.
func devices(l *specs.Linux) []wire.Device {
	var out []wire.Device
	for _, d := range l.Devices {
		device := wire.Device{Path: d.Path, Major: uint32(d.Major), Minor: uint32(d.Minor), Mode: 0o666}
		if d.FileMode != nil {
			device.Mode = uint32(d.FileMode.Perm())
		}
		switch access, given := blockVolume(l.Resources, d); {
		case given:
			device.Block = true
			if !strings.Contains(access, "w") {
				device.Mode &^= 0o222
			}
		case d.Type != "c" && d.Type != "u" || !guestDevice(d):
			continue
		}
		if d.UID != nil {
			device.UID = *d.UID
		}
		if d.GID != nil {
			device.GID = *d.GID
		}
		out = append(out, device)
	}
	return out
}

// blockVolume says whether d is a block device that the pod names, and what it
// may do with it: each of these has a rule of its own. A rule for all devices,
// which privileged containers have, gives none.
func blockVolume(r *specs.LinuxResources, d specs.LinuxDevice) (access string, given bool) {
	if r == nil || d.Type != "b" {
		return "", false
	}
	for _, rule := range r.Devices {
		if rule.Allow && rule.Type == "b" && rule.Major != nil && *rule.Major == d.Major && rule.Minor != nil && *rule.Minor == d.Minor {
			access, given = access+rule.Access, true
		}
	}
	return access, given
}

// Limits are r's, as control groups of version 2 count them.
func Limits(r *specs.LinuxResources) wire.Limits {
	var l wire.Limits
	if r == nil {
		return l
	}
	if r.Memory != nil && r.Memory.Limit != nil && *r.Memory.Limit > 0 {
		l.Memory = uint64(*r.Memory.Limit)
	}
	if r.Pids != nil && r.Pids.Limit != nil && *r.Pids.Limit > 0 {
		l.Processes = uint64(*r.Pids.Limit)
	}
	if r.CPU == nil {
		return l
	}
	if r.CPU.Quota != nil && *r.CPU.Quota > 0 {
		l.Quota = uint64(*r.CPU.Quota)
	}
	if r.CPU.Period != nil {
		l.Period = *r.CPU.Period
	}
	if r.CPU.Shares != nil && *r.CPU.Shares >= 2 {
		// The kernel's own conversion of shares, 2 to 262144, to weights.
		l.Weight = 1 + (min(*r.CPU.Shares, 262144)-2)*9999/262142
	}
	return l
}
