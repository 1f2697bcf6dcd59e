package pod

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/seccomp"
	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/wire"
)

// What a rehearsal is of: a pod with addresses for documentation (RFC 5737,
// RFC 3849), and containers whose program ends at once.
const (
	rehearsal        = "rehearsal"
	rehearsalProgram = "/rehearsal" // in the layer that guest/pack makes
)

// rehearsedHardware is the address of a card that has been through a rehearsal.
var rehearsedHardware = net.HardwareAddr{0x02, 0x52, 0x44, 0x42, 0x54, 0x02}

// rehearse has the agent do all that it does for a pod and its containers, and
// take it back. What need not wait for each other is done at the same time: most of
// it waits for answers. At the end the agent is told once more whose it is, which
// goes other ways where there has been a pod. layer is the containers' root file
// system.
func (s *Spare) rehearse(ctx context.Context, layer string) error {
	containers, err := rehearsalContainers()
	if err != nil {
		return err
	}
	disk, err := s.prepare(ctx, layer)
	if err != nil {
		return err
	}
	var lives errgroup.Group
	for _, container := range containers {
		container.Root.Layers = []uint32{uint32(disk)}
		lives.Go(func() error { return s.container(ctx, container) })
	}
	if err := lives.Wait(); err != nil {
		return err
	}
	if err := s.session.Call(ctx, wire.Reset, &wire.Empty{}, &wire.Empty{}); err != nil {
		return err
	}
	var end errgroup.Group
	end.Go(func() error { return s.machine.RemoveDisk(ctx, disk) })
	end.Go(func() error {
		if err := s.configure(ctx, rehearsedHardware); err != nil {
			return err
		}
		return s.session.Call(ctx, wire.Reset, &wire.Empty{}, &wire.Empty{})
	})
	return end.Wait()
}

// prepare makes the machine a pod's and gives it the containers' root file system
// and volumes.
func (s *Spare) prepare(ctx context.Context, layer string) (disk vmm.DiskAddress, err error) {
	file, err := os.Open(layer)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var parts errgroup.Group
	parts.Go(func() (err error) {
		disk, err = s.machine.AddDisk(ctx, vmm.Disk{File: file, ReadOnly: true})
		return err
	})
	parts.Go(func() error { return s.configure(ctx, hardware) })
	for i := range rehearsalVolumes {
		parts.Go(func() error { return s.session.Call(ctx, wire.PutVolume, &rehearsalVolumes[i], &wire.Empty{}) })
	}
	err = parts.Wait()
	return disk, err
}

// configure makes the machine a pod's. card is the address that its card has.
func (s *Spare) configure(ctx context.Context, card net.HardwareAddr) error {
	return s.session.Call(ctx, wire.Configure, rehearsalSandbox(card), &wire.Guest{})
}

// container is a container's life.
func (s *Spare) container(ctx context.Context, container *wire.Container) error {
	ref := &wire.Ref{ID: container.ID}
	if err := s.session.Call(ctx, wire.Create, container, &wire.Empty{}); err != nil {
		return err
	}
	for _, output := range []wire.Method{wire.Stdout, wire.Stderr} {
		stream, err := s.session.Open(ctx, output, ref, &wire.Empty{})
		if err != nil {
			return err
		}
		defer stream.Close()
		go func() { _, _ = io.Copy(io.Discard, stream) }()
	}
	if err := s.session.Call(ctx, wire.Start, ref, &wire.Started{}); err != nil {
		return err
	}
	var exit wire.Exit
	if err := s.session.Call(ctx, wire.Wait, ref, &exit); err != nil {
		return err
	}
	if exit.Status != 0 {
		return fmt.Errorf("its program ended with %d", exit.Status)
	}
	return s.session.Call(ctx, wire.Delete, ref, &wire.Empty{})
}

// rehearsalSandbox has all that containerd and the network plugin give a pod. Its
// sysctls, which nothing takes back, are the kernel's own.
func rehearsalSandbox(card net.HardwareAddr) *wire.Sandbox {
	return &wire.Sandbox{
		Hostname: rehearsal, ShmSize: shmSize, CPUs: 1, Time: time.Now().UnixNano(), Entropy: entropy(),
		Sysctls: []wire.Pair{
			{Name: "net.ipv4.ip_unprivileged_port_start", Value: "1024"},
			{Name: "net.ipv4.ping_group_range", Value: "1 0"},
		},
		Links: []wire.Link{{
			Name: "eth0", Hardware: card, MAC: rehearsedHardware, MTU: 1400,
			Addresses: []string{"192.0.2.2/24", "2001:db8::2/128", "fe80::2/64"},
			Routes: []wire.Route{
				{To: "192.0.2.1/32", Source: "192.0.2.2", Link: true},
				{To: "192.0.2.0/24", Source: "192.0.2.2", Gateway: "192.0.2.1"},
				{Gateway: "192.0.2.1"},
			},
		}},
	}
}

var rehearsalVolumes = []wire.Volume{
	{ID: "folder", Kind: wire.Copy, Mode: 0o755, Entries: []wire.Entry{{Path: "file", Kind: wire.File, Mode: 0o644, Data: []byte(rehearsal)}}},
	{ID: "file", Kind: wire.SingleFile, Entries: []wire.Entry{{Kind: wire.File, Mode: 0o644, Data: []byte(rehearsal)}}},
}

// rehearsalContainers have what the kubelet and containerd give to every one. The
// first is root's and has limits and a PID namespace of its own, the second is
// another user's and shares the pod's.
func rehearsalContainers() ([]*wire.Container, error) {
	alone, err := rehearsalContainer()
	if err != nil {
		return nil, err
	}
	shared := *alone
	alone.Limits = wire.Limits{Memory: 32 << 20, Quota: 100000, Period: 100000, Weight: 100, Processes: 100}
	const nobody = 65535
	shared.ID += "-shared"
	shared.PodPID, shared.Process.UID, shared.Process.GID, shared.Process.Groups = true, nobody, nobody, []uint32{nobody}
	shared.Process.Caps = wire.Capabilities{Bounding: shared.Process.Caps.Bounding}
	return []*wire.Container{alone, &shared}, nil
}

func rehearsalContainer() (*wire.Container, error) {
	filter, err := seccomp.Compile(nil)
	if err != nil {
		return nil, err
	}
	const usual = 0xa80425fb // the capabilities that containerd gives to root
	const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return &wire.Container{
		ID: rehearsal, Root: wire.Root{Size: 1 << 20}, PodIPC: true, PodUTS: true,
		Process: wire.Process{
			Args: []string{rehearsalProgram}, Env: []string{"PATH=/"}, Dir: "/",
			Stdout: true, Stderr: true, NoNewPrivs: true, Seccomp: filter, OOMScore: 1000,
			Caps: wire.Capabilities{Bounding: usual, Effective: usual, Permitted: usual},
		},
		Mounts: []wire.Mount{
			{Target: "/proc", Type: "proc", Flags: quiet},
			{Target: "/dev", Type: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_STRICTATIME, Data: "mode=755,size=65536k"},
			{Target: "/dev/pts", Type: "devpts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC},
			{Target: "/dev/mqueue", Type: "mqueue", Flags: quiet},
			{Target: "/sys", Type: "sysfs", Flags: quiet | unix.MS_RDONLY},
			{Target: "/sys/fs/cgroup", Type: "cgroup2", Flags: quiet | unix.MS_RELATIME | unix.MS_RDONLY},
			{Target: "/etc/hosts", Volume: "file"},
			{Target: "/dev/shm", Volume: shm},
			{Target: "/var/run/secrets", Volume: "folder", Flags: unix.MS_RDONLY},
		},
		Masked: []string{"/proc/kcore", "/proc/keys"}, ReadOnly: []string{"/proc/sys", "/proc/bus"},
	}, nil
}
