package doctor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	mib = 1 << 20
	gib = 1 << 30
	// An idle platform with one service of each class takes about 1.2 GiB.
	leastMemory, goodMemory = 1 * gib, 2 * gib
	// Images, etcd and logs of the demo take about 1 GiB.
	leastDisk, goodDisk = 2 * gib, 10 * gib
	// goodFiles is enough for the API server's watches and a gateway with
	// some thousand connections.
	goodFiles = 16384
	// One instance opens about twenty inotify instances.
	leastInotify, goodInotify = 24, 64
)

var resourceChecks = []check{
	{"memory", memory},
	{"disk", func(h Host) Finding {
		free := size(h.Free)
		remedy := "make room, or choose a data folder elsewhere with --data-dir"
		switch {
		case h.Free < leastDisk:
			return failed(remedy, "%s free for %s; at least %s are needed", free, h.DataDir, size(leastDisk))
		case h.Free < goodDisk:
			return warning(remedy, "%s free for %s; the kubelet deletes images when a disk is 85 %% full", free, h.DataDir)
		}
		return passed("%s free for %s", free, h.DataDir)
	}},
	{"open files", func(h Host) Finding {
		if h.OpenFiles < goodFiles {
			return warning(fmt.Sprintf("run: ulimit -Hn %d", goodFiles), "at most %d per process; a busy gateway may need more", h.OpenFiles)
		}
		return passed("%d per process", h.OpenFiles)
	}},
	{"inotify", inotify},
	{"process ids", func(h Host) Finding {
		if limit, ok := h.number("proc/sys/kernel/pid_max"); ok && limit < 32768 {
			return warning("run: sysctl -w kernel.pid_max=4194304", "at most %d on the whole machine", limit)
		}
		return passed("%s on the whole machine", h.read("proc/sys/kernel/pid_max"))
	}},
}

func memory(h Host) Finding {
	available, ok := h.availableMemory()
	switch {
	case !ok:
		return warning("see that /proc is mounted", "the kernel does not say how much is free")
	case available < leastMemory:
		return failed("end something else that runs here", "%s available; at least %s are needed", size(available), size(leastMemory))
	case available < goodMemory:
		return warning("end something else that runs here", "%s available, which is enough for few services", size(available))
	}
	return passed("%s available", size(available))
}

// availableMemory is MemAvailable of /proc/meminfo (proc(5)), in bytes.
func (h Host) availableMemory() (uint64, bool) {
	for line := range strings.Lines(h.read("proc/meminfo")) {
		if value, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}

func inotify(h Host) Finding {
	limit, ok := h.number("proc/sys/fs/inotify/max_user_instances")
	if !ok {
		return warning("use a kernel built with CONFIG_INOTIFY_USER", "the kernel does not say how many it allows")
	}
	const remedy = "run: sysctl -w fs.inotify.max_user_instances=1024"
	switch free := limit - h.InotifyUsed; {
	case free < leastInotify:
		return failed(remedy, "%d of %d instances are free; one platform opens about %d", free, limit, leastInotify)
	case free < goodInotify:
		return warning(remedy, "%d of %d instances are free, which is enough for one platform", free, limit)
	default:
		return passed("%d of %d instances are free", free, limit)
	}
}

// size is a number of bytes as people say it.
func size(bytes uint64) string {
	if bytes >= 10*gib {
		return fmt.Sprintf("%d GiB", bytes/gib)
	}
	if bytes >= gib {
		return fmt.Sprintf("%.1f GiB", float64(bytes)/gib)
	}
	return fmt.Sprintf("%d MiB", bytes/mib)
}

var portChecks = []check{
	{"gateway", func(h Host) Finding { return judgePort(h, "--http-port") }},
	{"API server", func(h Host) Finding { return judgePort(h, "--api-port") }},
}

func judgePort(h Host, flag string) Finding {
	for _, p := range h.Ports {
		if p.Flag != flag {
			continue
		}
		switch {
		case p.Own:
			return passed("%d is held by this instance, which runs", p.Number)
		case errors.Is(p.Err, unix.EADDRINUSE):
			return failed(fmt.Sprintf("end the other program, or choose another port with %s (0 is any free one)", flag), "%d is in use by another program", p.Number)
		case p.Err != nil:
			return failed(fmt.Sprintf("choose another port with %s", flag), "%d: %v", p.Number, p.Err)
		case p.Number == 0:
			return passed("any free one")
		}
		return passed("%d is free", p.Number)
	}
	return warning("give one with "+flag, "not asked for")
}
