package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/anypb"
	"gvisor.dev/gvisor/pkg/shim/v1/runsc"
	"gvisor.dev/gvisor/pkg/shim/v1/runtimeoptions"
)

// translate says in gVisor's terms what the container's specification says in
// the host's.
func (b *bundle) translate() error {
	if b.isSandbox() {
		return b.checkSettings()
	}
	if b.spec.Linux == nil {
		return nil
	}
	answerNoSuchCall(b.spec.Linux.Seccomp)
	plainOptions(b.spec.Mounts)
	if !b.hasCgroup() {
		return b.save()
	}
	if _, ok := b.namespace(specs.CgroupNamespace); !ok {
		// On a host with cgroup version 1 the CRI asks for no such namespace.
		// Inside the sandbox the version is always 2, and a container finds
		// its own limits only from within its own namespace.
		b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	l := b.limits()
	if err := l.write(b.dir); err != nil {
		return err
	}
	b.spec.Mounts = append(b.spec.Mounts, l.mounts(b.dir)...)
	return b.save()
}

// answerNoSuchCall makes the filter's rules that answer ENOSYS do so in gVisor
// too. It knows one error for every refusal, EPERM, and a C library that gets
// that for clone3 starts no thread instead of using clone. A call that is to
// be traced and has no tracer, as none has here, is answered ENOSYS
// (seccomp(2)).
func answerNoSuchCall(filter *specs.LinuxSeccomp) {
	if filter == nil {
		return
	}
	for i := range filter.Syscalls {
		rule := &filter.Syscalls[i]
		if rule.Action == specs.ActErrno && rule.ErrnoRet != nil && *rule.ErrnoRet == uint(unix.ENOSYS) {
			rule.Action, rule.ErrnoRet = specs.ActTrace, nil
		}
	}
}

// hasCgroup says whether the container is to see its cgroup.
func (b bundle) hasCgroup() bool {
	return b.spec.Linux != nil && slices.ContainsFunc(b.spec.Mounts, func(m specs.Mount) bool {
		return filepath.Clean(m.Destination) == cgroupMount && strings.HasPrefix(m.Type, "cgroup")
	})
}

// settings are the runtime's options for this container: the node's, and for
// a pod in the host's network gVisor's mode for that. Without it the pod would
// run with no network at all.
func (b bundle) settings(options *anypb.Any) (*anypb.Any, error) {
	if _, own := b.namespace(specs.NetworkNamespace); own || options == nil {
		return options, nil
	}
	node, err := readSettings(options)
	if err != nil {
		return nil, fmt.Errorf("read the runtime's settings: %w", err)
	}
	if node.RunscConfig == nil {
		node.RunscConfig = map[string]string{}
	}
	node.RunscConfig["network"] = "host"
	path := b.path("runsc.toml")
	if err := writeSettings(path, node); err != nil {
		return nil, fmt.Errorf("write the pod's settings: %w", err)
	}
	return typeurl.MarshalAnyToProto(&runtimeoptions.Options{ConfigPath: path})
}

func readSettings(options *anypb.Any) (runsc.Options, error) {
	var where runtimeoptions.Options
	if err := typeurl.UnmarshalTo(options, &where); err != nil {
		return runsc.Options{}, err
	}
	var settings runsc.Options
	if path := where.GetConfigPath(); path != "" {
		if _, err := toml.DecodeFile(path, &settings); err != nil {
			return runsc.Options{}, err
		}
	}
	return settings, nil
}

func writeSettings(path string, settings runsc.Options) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(toml.NewEncoder(f).Encode(settings), f.Close())
}
