package main

import (
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

func TestFeaturesAreTrue(t *testing.T) {
	yes := true
	f := &features.Features{Linux: &features.Linux{MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}}}}
	for range 2 {
		correct(f)
	}
	if !slices.Equal(f.MountOptions, []string{recursive}) || *f.Linux.MountExtensions.IDMap.Enabled {
		t.Errorf("got %v, user namespaces %v", f.MountOptions, *f.Linux.MountExtensions.IDMap.Enabled)
	}
	correct(&features.Features{})
}

func TestRecursiveIsPlain(t *testing.T) {
	mounts := []specs.Mount{{Options: []string{"rbind", "rro"}}, {Options: []string{"rw"}}}
	plainOptions(mounts)
	if !slices.Equal(mounts[0].Options, []string{"rbind", "ro"}) || mounts[1].Options[0] != "rw" {
		t.Errorf("got %v", mounts)
	}
}

func TestUnknownSettingsAreRefused(t *testing.T) {
	with := func(names ...string) error {
		b := bundle{spec: specs.Spec{Linux: &specs.Linux{Sysctl: map[string]string{}}}}
		for _, name := range names {
			b.spec.Linux.Sysctl[name] = "1"
		}
		return b.checkSettings()
	}
	if err := with("net.ipv4.ping_group_range", "fs.nr_open"); err != nil {
		t.Error(err)
	}
	if err := with("fs.nr_open", "kernel.shm_rmid_forced"); err == nil || !strings.Contains(err.Error(), `"kernel.shm_rmid_forced"`) {
		t.Errorf("got %v, want the setting refused by name", err)
	}
	if err := (bundle{}).checkSettings(); err != nil {
		t.Error(err)
	}
}
