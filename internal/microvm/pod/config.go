package pod

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"redoubt.dev/redoubt/internal/microvm/cgroup"
	"redoubt.dev/redoubt/internal/microvm/kvm"
	"redoubt.dev/redoubt/internal/microvm/spec"
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
	size := sizeOf(s)
	c, err := anyPods(ctx, size.boot())
	if err != nil {
		return c, err
	}
	if c.Cgroup, err = cgroup.Parse(s.Linux.CgroupsPath); err != nil {
		return c, err
	}
	c.UID, c.Size = user(id), size
	c.Sandbox = wire.Sandbox{Hostname: s.Hostname, ShmSize: shmSize, CPUs: min(size.processors(), uint32(c.Shape.CPUs))}
	return c, c.namespaces(s)
}

// SpareConfig is a machine that starts with so much memory, in bytes, and is no
// pod's yet.
func SpareConfig(ctx context.Context, memory int64) (Config, error) {
	c, err := anyPods(ctx, memory)
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	c.UID = user(string(id))
	return c, err
}

// BootMemory is what the machine of a pod with this specification starts with,
// in bytes.
func BootMemory(s *specs.Spec) int64 { return sizeOf(s).boot() }

// anyPods is what does not depend on the pod.
func anyPods(ctx context.Context, memory int64) (Config, error) {
	image, err := imageFolder()
	if err != nil {
		return Config{}, err
	}
	c := Config{
		Store:     template.Store{Dir: template.Folder(), Image: qemu.ImageIn(image), Await: wire.AwaitGuest},
		Rehearsal: filepath.Join(image, "rehearsal.erofs"),
	}
	answer, err := kvm.Probe(ctx, c.Store.Dir, c.Store.Image, c.Store.Await)
	if err != nil {
		return c, err
	}
	c.Shape = shape(answer.Accelerator(), memory)
	return c, nil
}

// MadeFrom are the files that machines, and what drives them, are made from.
func MadeFrom() ([]string, error) {
	image, err := imageFolder()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	files := qemu.ImageIn(image)
	return []string{self, files.Kernel, files.Initramfs, files.MemoryGuard}, err
}

// imageFolder is the guest image's.
func imageFolder() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the guest image: %w", err)
	}
	return filepath.Join(filepath.Dir(self), imageDir), nil
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
	users, err := spec.Users(s)
	if err != nil {
		return err
	}
	c.Sandbox.Users = users
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
func shape(accelerator vmm.Accelerator, memory int64) vmm.Shape {
	return vmm.Shape{
		Accelerator: accelerator,
		CPUs:        min(runtime.NumCPU(), vmm.MaxCPUs),
		Memory:      memory, MaxMemory: maxMemory(),
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
