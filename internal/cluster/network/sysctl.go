package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// shared are the settings of the whole machine that an instance changes:
// forwarding, which its link to the host needs, the number of users of inotify,
// and what the kubelet sets at its start.
var shared = []string{
	"net/ipv4/ip_forward",
	watchers,
	"vm/overcommit_memory",
	"vm/panic_on_oom",
	"kernel/panic",
	"kernel/panic_on_oops",
	"kernel/keys/root_maxkeys",
	"kernel/keys/root_maxbytes",
}

const (
	// watchers bounds root's users of inotify, which are the shims of virtual
	// machines, one each, beside the platform's some twenty.
	watchers = "fs/inotify/max_user_instances"
	// enoughWatchers is for the most pods that a node is said to run, and more.
	enoughWatchers = 1024
)

// RememberSysctls writes the machine's present settings to file, unless an
// earlier instance did, turns forwarding on, and lets as many programs use
// inotify as a node's pods need. Where the last is not possible, there are
// fewer pods, and the doctor says so.
func RememberSysctls(file string) error {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if err := saveSysctls(file); err != nil {
			return fmt.Errorf("remember kernel settings: %w", err)
		}
	}
	if now, err := os.ReadFile(sysctlPath(watchers)); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(now))); err == nil && n < enoughWatchers {
			_ = writeSysctl(watchers, strconv.Itoa(enoughWatchers))
		}
	}
	return writeSysctl("net/ipv4/ip_forward", "1")
}

// RestoreSysctls puts the remembered settings back and forgets them.
func RestoreSysctls(file string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restore kernel settings: %w", err)
	}
	var old map[string]string
	if err := json.Unmarshal(data, &old); err != nil {
		return fmt.Errorf("restore kernel settings: %s: %w", file, err)
	}
	var errs []error
	for name, value := range old {
		errs = append(errs, writeSysctl(name, value))
	}
	return errors.Join(append(errs, os.Remove(file))...)
}

func saveSysctls(file string) error {
	values := map[string]string{}
	for _, name := range shared {
		value, err := os.ReadFile(sysctlPath(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		values[name] = strings.TrimSpace(string(value))
	}
	data, err := json.Marshal(values)
	if err != nil {
		return err
	}
	// Whole or not at all: half of it could never be put back.
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// writeSysctl leaves a setting alone that has the value already: a container
// may be able to read what it cannot write.
func writeSysctl(name, value string) error {
	path := sysctlPath(name)
	if now, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(now)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set kernel setting %s to %s: %w", strings.ReplaceAll(name, "/", "."), value, err)
	}
	return nil
}

func sysctlPath(name string) string { return filepath.Join("/proc/sys", name) }
