// Package spec turns a container's specification (the Open Container
// Initiative's) into what the guest is told. It builds a new message from the
// fields that it knows, so that anything else in a specification, such as
// hooks or paths on the host, does not reach the guest.
//
// What a virtual machine cannot give is refused with a reason, never left out
// silently: the host's network, processes and folders.
package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"redoubt.dev/redoubt/internal/microvm/seccomp"
	"redoubt.dev/redoubt/internal/wire"
)

// maxSpec is the largest specification that is read, in bytes.
const maxSpec = 8 << 20

// Read reads the specification in a bundle.
func Read(bundle string) (*specs.Spec, error) {
	f, err := os.Open(filepath.Join(bundle, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("read the container's specification: %w", err)
	}
	defer f.Close()
	var s specs.Spec
	if err := json.NewDecoder(io.LimitReader(f, maxSpec)).Decode(&s); err != nil {
		return nil, fmt.Errorf("read the container's specification: %w", err)
	}
	if s.Process == nil || s.Linux == nil {
		return nil, fmt.Errorf("%w: the container's specification has no process for Linux", errdefs.ErrInvalidArgument)
	}
	return &s, nil
}

// Streams says which standard files of a process somebody wants.
type Streams struct{ Stdin, Stdout, Stderr, Terminal bool }

// Container is the guest's view of s, without its root file system, and the
// mounts of s that are the host's: those need volumes. Its block devices have the
// host's numbers: those need disks.
func Container(id string, s *specs.Spec, streams Streams) (*wire.Container, []specs.Mount, error) {
	c := &wire.Container{ID: id, Hostname: s.Hostname}
	if err := namespaces(c, s); err != nil {
		return nil, nil, err
	}
	process, err := Process(s.Process, s.Linux.Seccomp, streams)
	if err != nil {
		return nil, nil, err
	}
	c.Process = *process
	var host []specs.Mount
	if c.Mounts, host, err = mounts(s.Mounts); err != nil {
		return nil, nil, err
	}
	c.Masked, c.ReadOnly = s.Linux.MaskedPaths, s.Linux.ReadonlyPaths
	if s.Root != nil {
		c.Root.ReadOnly = s.Root.Readonly
	}
	for name, value := range s.Linux.Sysctl {
		c.Sysctls = append(c.Sysctls, wire.Pair{Name: name, Value: value})
	}
	c.Devices = devices(s.Linux)
	c.Limits = Limits(s.Linux.Resources)
	return c, host, nil
}

// namespaces tells which the container shares with its pod. A path to another
// process's is the pod's: containerd gives no other. What is not named is not
// shared.
func namespaces(c *wire.Container, s *specs.Spec) error {
	network, pid := false, false
	for _, n := range s.Linux.Namespaces {
		shared := n.Path != ""
		switch n.Type {
		case specs.PIDNamespace:
			c.PodPID, pid = shared, true
		case specs.IPCNamespace:
			c.PodIPC = shared
		case specs.UTSNamespace:
			c.PodUTS = shared
		case specs.NetworkNamespace:
			network = true
		}
	}
	switch {
	case !network:
		return errors.New("hostNetwork: a microVM pod cannot use the host's network; leave it out or use another RuntimeClass")
	case !pid:
		return errors.New("hostPID: a microVM pod cannot see the host's processes; leave it out or use another RuntimeClass")
	}
	return nil
}

// Process is the guest's view of p.
func Process(p *specs.Process, profile *specs.LinuxSeccomp, streams Streams) (*wire.Process, error) {
	filter, err := seccomp.Compile(profile)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	out := &wire.Process{
		Args: p.Args, Env: p.Env, Dir: p.Cwd, Terminal: streams.Terminal,
		Stdin: streams.Stdin, Stdout: streams.Stdout, Stderr: streams.Stderr,
		UID: p.User.UID, GID: p.User.GID, Groups: p.User.AdditionalGids, Umask: 0o022,
		NoNewPrivs: p.NoNewPrivileges, Seccomp: filter,
	}
	if p.ConsoleSize != nil {
		out.Width, out.Height = uint32(p.ConsoleSize.Width), uint32(p.ConsoleSize.Height)
	}
	if p.User.Umask != nil {
		out.Umask = *p.User.Umask
	}
	if p.OOMScoreAdj != nil {
		out.OOMScore = int64(*p.OOMScoreAdj)
	}
	if out.Caps, err = capabilities(p.Capabilities); err != nil {
		return nil, err
	}
	out.Limits, err = resourceLimits(p.Rlimits)
	return out, err
}
