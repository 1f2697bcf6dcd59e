// Package registries lets an instance pull from registries on the host's
// loopback. containerd runs in the instance's network namespace, whose
// loopback is another one; for each loopback address that the registries'
// settings name, a relay there leads to the same port of the host. Nothing
// else of the host's loopback can be reached.
package registries

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"

	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/cluster/relay"
)

// maxSettings bounds one registry's file, in bytes.
const maxSettings = 1 << 20

// Serve keeps a relay in the namespace for each loopback port that the
// settings in dir name, and follows their changes, until ctx ends.
func Serve(ctx context.Context, dir, namespace string) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch registries: %w", err)
	}
	defer watcher.Close()
	relays := &relays{namespace: namespace, running: map[string]context.CancelFunc{}}
	defer relays.stop()
	for {
		if err := watch(watcher, dir); err != nil {
			return fmt.Errorf("watch registries: %w", err)
		}
		relays.follow(ctx, Ports(dir))
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
		case <-watcher.Errors: // events were lost: what there is now is read
		}
	}
}

// watch adds dir and each registry's folder, which may be there already.
func watch(watcher *fsnotify.Watcher, dir string) error {
	if err := watcher.Add(dir); err != nil {
		return err
	}
	folders, err := os.ReadDir(dir)
	for _, f := range folders {
		if f.IsDir() {
			err = errors.Join(err, ignoreGone(watcher.Add(filepath.Join(dir, f.Name()))))
		}
	}
	return err
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// relays are those that run, by port.
type relays struct {
	namespace string
	running   map[string]context.CancelFunc
	wait      sync.WaitGroup
}

func (r *relays) follow(ctx context.Context, ports map[string]bool) {
	for port, cancel := range maps.Clone(r.running) {
		if !ports[port] {
			cancel()
			delete(r.running, port)
		}
	}
	for port := range ports {
		if _, ok := r.running[port]; ok {
			continue
		}
		// A port that the platform itself has stays the platform's: a pull
		// then says what answered.
		l, err := netns.Listen(r.namespace, "tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		own, cancel := context.WithCancel(ctx)
		r.running[port] = cancel
		r.wait.Go(func() { _ = relay.Serve(own, l, relay.Loopback(port)) }) // ends with own
	}
}

func (r *relays) stop() {
	for _, cancel := range r.running {
		cancel()
	}
	r.wait.Wait()
}

const loopback = `(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])`

var (
	// folder is a registry by its folder; containerd takes both spellings.
	folder = regexp.MustCompile(`^` + loopback + `(?::(\d+)|_(\d+)_)$`)
	// address is one in a file. The rest of the file is containerd's.
	address = regexp.MustCompile(`https?://` + loopback + `:(\d+)`)
)

// Ports are the loopback ports that the settings in dir name, in a folder's
// name or in its hosts.toml.
func Ports(dir string) map[string]bool {
	ports := map[string]bool{}
	folders, err := os.ReadDir(dir)
	if err != nil {
		return ports
	}
	for _, f := range folders {
		if m := folder.FindStringSubmatch(f.Name()); m != nil {
			ports[m[1]+m[2]] = true
		}
		for _, line := range lines(filepath.Join(dir, f.Name(), "hosts.toml")) {
			for _, m := range address.FindAllStringSubmatch(line, -1) {
				ports[m[1]] = true
			}
		}
	}
	return ports
}

// lines are those of a file of settings that are no comments.
func lines(file string) (list []string) {
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > maxSettings {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			list = append(list, line)
		}
	}
	return list
}
