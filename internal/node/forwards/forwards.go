// Package forwards tells into which of a node's pods ports are being forwarded
// (kubectl port-forward). Container runtimes have no event for that. But they
// serve it themselves, from within the pod's network namespace, and keep a file
// of the namespace open for as long as it lasts; otherwise they open one for a
// moment only.
package forwards

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pause is between two looks at the runtime: how long the first byte of a
	// forwarded port may wait. It is a compromise with processor time, of which
	// a look takes about a millisecond where there are hundreds of pods.
	pause = 500 * time.Millisecond
	// moment is how long a runtime may have a namespace open for other reasons.
	moment = 50 * time.Millisecond
)

// Follow calls changed with the UID of each pod into which ports begin to be
// forwarded, and when they no longer are, one after the other until ctx ends.
// The runtime is the process that serves the socket; needed says whether looking
// is worth it.
func Follow(ctx context.Context, socket string, needed func() bool, changed func(uid string, open bool)) {
	r, said := newRuntime(socket), false
	open := map[namespace]string{} // UIDs of pods, by namespace
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if len(open) == 0 && !needed() {
			continue
		}
		now, err := r.entered(ctx)
		if err != nil && ctx.Err() == nil && !said {
			slog.Warn("ports forwarded into frozen pods wait until a request comes", "error", err)
		}
		if said = err != nil; said {
			continue
		}
		open = compare(open, now, changed)
	}
}

// compare tells what has changed, and returns what there is now.
func compare(before, now map[namespace]string, changed func(uid string, open bool)) map[namespace]string {
	for n, uid := range now {
		if before[n] != uid {
			changed(uid, true)
		}
	}
	for n, uid := range before {
		if now[n] != uid {
			changed(uid, false)
		}
	}
	return now
}

// namespace is one of the kernel's, by the number of its file.
type namespace uint64

// namespaces are those of which the process has a file open.
func namespaces(pid int) (map[namespace]struct{}, error) {
	var known unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &known); err != nil {
		return nil, fmt.Errorf("look at a namespace: %w", err)
	}
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("look at the container runtime's files: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("look at the container runtime's files: %w", err)
	}
	found := map[namespace]struct{}{}
	for _, name := range names {
		var file unix.Stat_t
		// One that has been closed meanwhile cannot be looked at.
		if unix.Stat(filepath.Join(dir, name), &file) == nil && file.Dev == known.Dev {
			found[namespace(file.Ino)] = struct{}{}
		}
	}
	return found, nil
}

// lasting are the namespaces that the process keeps open.
func lasting(ctx context.Context, pid int) (map[namespace]struct{}, error) {
	first, err := namespaces(pid)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(moment):
	}
	second, err := namespaces(pid)
	maps.DeleteFunc(second, func(n namespace, _ struct{}) bool {
		_, before := first[n]
		return !before
	})
	return second, err
}
