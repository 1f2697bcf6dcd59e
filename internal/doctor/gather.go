package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/instance"
)

// engine lists the upstream programs that make up the engine.
var engine = []string{
	"kubernetes", "etcd", "containerd", "containerd-shim-runc-v2", "runc",
	"runsc", "containerd-shim-runsc-v1", "coredns", "cni/ptp", "cni/portmap", "cni/host-local", "pause",
}

// Options say which instance the machine is examined for.
type Options struct {
	Instance          instance.Instance
	HTTPPort, APIPort int
}

// Gather collects the facts about this machine. What cannot be found out is
// part of them.
func Gather(ctx context.Context, opts Options) Host {
	h := Host{
		Files:        os.DirFS("/"),
		User:         os.Geteuid(),
		Capabilities: effective(),
		Programs:     map[string]bool{},
		DataDir:      opts.Instance.DataDir,
		OpenFiles:    openFiles(),
		InotifyUsed:  inotifyUsed(),
	}
	for _, p := range programs {
		_, err := exec.LookPath(p.name)
		h.Programs[p.name] = err == nil
	}
	h.lookAtEngine()
	existing := nearest(opts.Instance.DataDir)
	var stat unix.Statfs_t
	if err := unix.Statfs(existing, &stat); err == nil {
		h.Free = stat.Bavail * uint64(stat.Bsize)
	}
	h.Tried = try(ctx, existing)
	h.lookAtMachines(ctx, existing)
	h.Ports = ports(ctx, opts)
	return h
}

func (h *Host) lookAtEngine() {
	dir, err := instance.EngineDir()
	if err != nil {
		h.EngineDir, h.EngineMissing = "the engine's folder", engine
		return
	}
	h.EngineDir = dir
	for _, name := range engine {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			h.EngineMissing = append(h.EngineMissing, name)
		}
	}
}

// nearest is dir, or the closest folder above it that exists.
func nearest(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == "/" {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func effective() uint64 {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
}

// openFiles is the hard limit: Go raises the soft one to it by itself.
func openFiles() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return limit.Max
}

// inotifyUsed counts the instances of root's processes, for whom the limit is
// counted too. Processes that end meanwhile are passed over.
func inotifyUsed() int {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	var used int
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || target != "anon_inode:inotify" {
			continue
		}
		process, err := os.Stat(strings.Join(strings.Split(link, "/")[:3], "/"))
		if err == nil && ownedByRoot(process) {
			used++
		}
	}
	return used
}

func ownedByRoot(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*unix.Stat_t)
	return !ok || stat.Uid == 0
}

// ports tries to listen where the instance would, unless it does already.
func ports(ctx context.Context, opts Options) []Port {
	state, err := opts.Instance.LoadState()
	runs := err == nil && unix.Kill(state.SupervisorPID, 0) == nil
	all := []Port{
		{Flag: "--http-port", Number: opts.HTTPPort, Own: runs && state.HTTPPort == opts.HTTPPort},
		{Flag: "--api-port", Number: opts.APIPort, Own: runs && state.APIPort == opts.APIPort},
	}
	for i := range all {
		if p := &all[i]; !p.Own {
			p.Err = listen(ctx, p.Number)
		}
	}
	return all
}

func listen(ctx context.Context, port int) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			return op.Err
		}
		return err
	}
	return l.Close()
}
