package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// recursive is the option of a mount that is read-only with all that is mounted
// below it. gVisor's read-only mounts always are.
const recursive = "rro"

// Info says what the runtime can. The kubelet refuses pods that ask for more.
func (m manager) Info(ctx context.Context, options io.Reader) (*types.RuntimeInfo, error) {
	info, err := m.Manager.Info(ctx, options)
	if err != nil || info.Features == nil {
		return info, err
	}
	said, err := typeurl.UnmarshalAny(info.Features)
	if err != nil {
		return nil, fmt.Errorf("read gVisor's features: %w", err)
	}
	known, ok := said.(*features.Features)
	if !ok {
		return nil, fmt.Errorf("read gVisor's features: they are a %T", said)
	}
	correct(known)
	info.Features, err = typeurl.MarshalAnyToProto(known)
	return info, err
}

// correct puts right what gVisor says of itself. It claims user namespaces of
// pods, but cannot join one that containerd has made.
func correct(f *features.Features) {
	if !slices.Contains(f.MountOptions, recursive) {
		f.MountOptions = append(f.MountOptions, recursive)
	}
	if f.Linux != nil && f.Linux.MountExtensions != nil && f.Linux.MountExtensions.IDMap != nil {
		f.Linux.MountExtensions.IDMap.Enabled = new(bool)
	}
}

// plainOptions says "recursively read-only" in gVisor's word.
func plainOptions(mounts []specs.Mount) {
	for i := range mounts {
		for j, option := range mounts[i].Options {
			if option == recursive {
				mounts[i].Options[j] = "ro"
			}
		}
	}
}

// settled are the kernel's settings that a pod may name: those that runsc reads,
// and those that the CRI adds to every pod and gVisor has no limits for.
var settled = map[string]bool{
	"fs.nr_open": true, "net.ipv6.conf.all.disable_ipv6": true,
	"net.ipv4.ip_unprivileged_port_start": true, "net.ipv4.ping_group_range": true,
}

// checkSettings refuses a pod that names another: runsc would start it without.
func (b bundle) checkSettings() error {
	if b.spec.Linux == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(b.spec.Linux.Sysctl)) {
		if !settled[name] {
			return fmt.Errorf("securityContext.sysctls: gVisor's kernel has no setting %q; leave it out or use another RuntimeClass", name)
		}
	}
	return nil
}
