package spec

import (
	"math"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"redoubt.dev/redoubt/internal/wire"
)

func TestUsers(t *testing.T) {
	s := pod(specs.UserNamespace)
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 65536, Size: 1000}, {ContainerID: 1000, HostID: 5, Size: 1}}
	s.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: 131072, Size: 65536}}
	got, err := Users(s)
	if err != nil {
		t.Fatal(err)
	}
	if want := []wire.IDRange{{Outside: 65536, Size: 1000}, {Inside: 1000, Outside: 5, Size: 1}}; !slices.Equal(got.UIDs, want) {
		t.Errorf("users %v, want %v", got.UIDs, want)
	}
	if want := []wire.IDRange{{Outside: 131072, Size: 65536}}; !slices.Equal(got.GIDs, want) {
		t.Errorf("groups %v, want %v", got.GIDs, want)
	}
	s.Linux.Namespaces = nil
	if got, err := Users(s); err != nil || got.UIDs != nil || got.GIDs != nil {
		t.Errorf("without a namespace: %v, %v", got, err)
	}
}

func TestUsersRefuses(t *testing.T) {
	whole := specs.LinuxIDMapping{HostID: 1, Size: 65536}
	for name, list := range map[string][]specs.LinuxIDMapping{
		"nothing":        nil,
		"no root":        {{ContainerID: 1, HostID: 1, Size: 1}},
		"empty":          {{HostID: 1}},
		"past the last":  {{HostID: math.MaxUint32 - 1, Size: 2}},
		"inside as well": {whole, {ContainerID: math.MaxUint32, HostID: 1, Size: 1}},
		"too many":       slices.Repeat([]specs.LinuxIDMapping{whole}, maxRanges+1),
	} {
		s := pod(specs.UserNamespace)
		s.Linux.UIDMappings, s.Linux.GIDMappings = list, []specs.LinuxIDMapping{whole}
		if _, err := Users(s); err == nil {
			t.Errorf("users: %s was taken", name)
		}
		s.Linux.UIDMappings, s.Linux.GIDMappings = s.Linux.GIDMappings, list
		if _, err := Users(s); err == nil {
			t.Errorf("groups: %s was taken", name)
		}
	}
}
