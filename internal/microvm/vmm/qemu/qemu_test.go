package qemu_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/microvm/vmm/qemu"
	"redoubt.dev/redoubt/internal/microvm/vmm/vmmtest"
)

func TestColdBoot(t *testing.T) {
	vmmtest.Run(t, func(t *testing.T) vmm.Machine {
		m := start(t, vmmtest.ShellImage(t), vmmtest.Config(t))
		if err := vmmtest.AwaitShell(m.Channel()); err != nil {
			m.Kill()
			t.Fatalf("%v: %+v", err, m.Exit())
		}
		return m
	})
}

func start(t *testing.T, image qemu.Image, config vmm.Config) *qemu.Machine {
	t.Helper()
	ctx := vmmtest.Context(t)
	root, err := qemu.Prepare(ctx, t.TempDir(), image)
	if err != nil {
		t.Fatal(err)
	}
	m, err := qemu.Start(ctx, root, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Kill)
	return m
}

func TestGuestPanics(t *testing.T) {
	m := start(t, vmmtest.WithInit(t, "#!/bin/busybox sh\nexit 3\n"), vmmtest.Config(t))
	select {
	case <-m.Done():
	case <-vmmtest.Context(t).Done():
		t.Fatal("a machine whose kernel panicked does not end")
	}
	exit := m.Exit()
	if !strings.Contains(exit.Reason, "panicked") || !strings.Contains(exit.Console, "Attempted to kill init") {
		t.Errorf("exit = %+v, want the panic as reason and its message in the console", exit)
	}
}

func TestBadConfig(t *testing.T) {
	good := vmmtest.Config(t)
	for _, test := range []struct {
		name   string
		change func(*vmm.Config)
		want   string
	}{
		{"root user", func(c *vmm.Config) { c.UID = 0 }, "never runs as root"},
		{"root group", func(c *vmm.Config) { c.GID = 0 }, "never runs as root"},
		{"no card", func(c *vmm.Config) { c.Tap = nil }, "tap"},
		{"no processor", func(c *vmm.Config) { c.Shape.CPUs = 0 }, "cpus 0"},
		{"too many processors", func(c *vmm.Config) { c.Shape.CPUs = vmm.MaxCPUs + 1 }, "cpus 256"},
		{"little memory", func(c *vmm.Config) { c.Shape.Memory = 1 << 20 }, "memory of 1048576 bytes"},
		{"odd memory", func(c *vmm.Config) { c.Shape.Memory++ }, "multiple of 2 MiB"},
		{"less at most", func(c *vmm.Config) { c.Shape.MaxMemory = 0 }, "maximum memory"},
		{"accelerator", func(c *vmm.Config) { c.Shape.Accelerator = "xen" }, `accelerator "xen"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := good
			test.change(&config)
			_, err := qemu.Start(context.Background(), qemu.Root{}, config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestMissingParts(t *testing.T) {
	image := vmmtest.Image(t)
	for _, test := range []struct {
		name, want string
		break_     func(t *testing.T, image *qemu.Image)
	}{
		{"kernel", "stat /nowhere/vmlinuz", func(_ *testing.T, i *qemu.Image) { i.Kernel = "/nowhere/vmlinuz" }},
		{"initramfs", "stat /nowhere/initramfs", func(_ *testing.T, i *qemu.Image) { i.Initramfs = "/nowhere/initramfs" }},
		{"qemu", "apt-get install qemu-system-x86", func(t *testing.T, _ *qemu.Image) { t.Setenv("PATH", t.TempDir()) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			broken := image
			test.break_(t, &broken)
			_, err := qemu.Prepare(context.Background(), t.TempDir(), broken)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one that says %q", err, test.want)
			}
		})
	}
}

// TestQEMUFails gives QEMU something that it refuses: a kernel that is none.
func TestQEMUFails(t *testing.T) {
	image := vmmtest.Image(t)
	image.Kernel = "/etc/hostname"
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	root, err := qemu.Prepare(ctx, t.TempDir(), image)
	if err != nil {
		t.Fatal(err)
	}
	_, err = qemu.Start(ctx, root, vmmtest.Config(t))
	if err == nil || !strings.Contains(err.Error(), "qemu says:") {
		t.Errorf("error %v, want qemu's own words", err)
	}
}
