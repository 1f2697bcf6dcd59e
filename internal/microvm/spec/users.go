package spec

import (
	"fmt"
	"math"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"redoubt.dev/redoubt/internal/wire"
)

// maxRanges is how many a user namespace can have (user_namespaces(7)).
const maxRanges = 340

// Users are those of the pod that s is a container of, nothing where it has no
// user namespace. Root must be among them.
func Users(s *specs.Spec) (wire.Users, error) {
	var u wire.Users
	for _, n := range s.Linux.Namespaces {
		if n.Type != specs.UserNamespace {
			continue
		}
		var err error
		if u.UIDs, err = ranges("uidMappings", s.Linux.UIDMappings); err != nil {
			return u, err
		}
		u.GIDs, err = ranges("gidMappings", s.Linux.GIDMappings)
		return u, err
	}
	return u, nil
}

func ranges(field string, list []specs.LinuxIDMapping) ([]wire.IDRange, error) {
	if len(list) > maxRanges {
		return nil, fmt.Errorf("%w: %s: %d ranges: a user namespace takes %d", errdefs.ErrInvalidArgument, field, len(list), maxRanges)
	}
	var out []wire.IDRange
	root := false
	for _, m := range list {
		// The last number means nobody at all.
		if m.Size == 0 || m.Size > math.MaxUint32-m.ContainerID || m.Size > math.MaxUint32-m.HostID {
			return nil, fmt.Errorf("%w: %s: no range of %d begins at %d and %d", errdefs.ErrInvalidArgument, field, m.Size, m.ContainerID, m.HostID)
		}
		root = root || m.ContainerID == 0
		out = append(out, wire.IDRange{Inside: m.ContainerID, Outside: m.HostID, Size: m.Size})
	}
	if !root {
		return nil, fmt.Errorf("%w: %s: a user namespace needs an identity for 0", errdefs.ErrInvalidArgument, field)
	}
	return out, nil
}
