package pod

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"redoubt.dev/redoubt/internal/microvm/kvm"
	"redoubt.dev/redoubt/internal/microvm/template"
	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/microvm/vmm/qemu"
	"redoubt.dev/redoubt/internal/wire"
)

const (
	// imageDir holds the guest image, beside the shim's own program.
	imageDir = "guest"
	// shmSize is /dev/shm's, as with other runtimes, in bytes.
	shmSize = 64 << 20
	// firstUID begins the users that machines run as, one each: a range that
	// nothing else on a host uses.
	firstUID = 0x60000000
	uidBits  = 28
)

// ConfigOf is the machine for the pod whose first container is id.
func ConfigOf(ctx context.Context, id string, s *specs.Spec) (Config, error) {
	self, err := os.Executable()
	if err != nil {
		return Config{}, fmt.Errorf("find the guest image: %w", err)
	}
	c := Config{
		Store: template.Store{
			Dir:   template.Folder(),
			Image: qemu.ImageIn(filepath.Join(filepath.Dir(self), imageDir)),
			Await: wire.AwaitGuest,
		},
		Cgroup: s.Linux.CgroupsPath,
		UID:    user(id),
		Sandbox: wire.Sandbox{
			Hostname: s.Hostname,
			ShmSize:  shmSize,
		},
	}
	answer, err := kvm.Probe(ctx, c.Store.Dir, c.Store.Image, c.Store.Await)
	if err != nil {
		return c, err
	}
	c.Size = sizeOf(s)
	c.Shape = shape(answer.Accelerator(), c.Size)
	c.Sandbox.CPUs = uint32(min(max(c.Size.CPUs, 1), c.Shape.CPUs))
	return c, c.namespaces(s)
}

// namespaces takes what the pod's own container says about the pod's. One that
// it lacks is the host's: containers only say that they share the pod's.
func (c *Config) namespaces(s *specs.Spec) error {
	has := map[specs.LinuxNamespaceType]bool{}
	for _, n := range s.Linux.Namespaces {
		has[n.Type] = true
		if n.Type == specs.NetworkNamespace {
			c.NetNS = n.Path
		}
	}
	for name, value := range s.Linux.Sysctl {
		c.Sandbox.Sysctls = append(c.Sandbox.Sysctls, wire.Pair{Name: name, Value: value})
	}
	if c.NetNS == "" {
		return fmt.Errorf("%w: hostNetwork: a microVM pod cannot use the host's network; leave it out or use another RuntimeClass", errdefs.ErrInvalidArgument)
	}
	if !has[specs.PIDNamespace] {
		return fmt.Errorf("%w: hostPID: a microVM pod cannot see the host's processes; leave it out or use another RuntimeClass", errdefs.ErrInvalidArgument)
	}
	if !has[specs.IPCNamespace] {
		return fmt.Errorf("%w: hostIPC: a microVM pod cannot share memory with the host's processes; leave it out or use another RuntimeClass", errdefs.ErrInvalidArgument)
	}
	return nil
}

// shape is one of a few for all pods, so that they share their templates. What
// else a pod gets is added after the start.
func shape(accelerator vmm.Accelerator, size Size) vmm.Shape {
	return vmm.Shape{
		Accelerator: accelerator,
		CPUs:        min(runtime.NumCPU(), vmm.MaxCPUs),
		Memory:      size.boot(), MaxMemory: maxMemory(),
	}
}

// user is the machine's own.
func user(id string) uint32 {
	sum := sha256.Sum256([]byte(id))
	return firstUID | binary.BigEndian.Uint32(sum[:4])>>(32-uidBits)
}

// Writable is how much a container may write to its root file system, which
// is in the guest's memory, in bytes.
func (p *Pod) Writable() uint64 { return uint64(p.memory.Load()) / 2 }
