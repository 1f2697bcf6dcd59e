// Package layers finds the image layers that a container's root file system is
// made of, among the mounts that containerd's erofs snapshotter prepares.
//
// Each layer is a file with a read-only file system that all containers of all
// pods share. The shim mounts none: it plugs the files into virtual machines
// as disks.
package layers

import (
	"fmt"
	"strings"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
)

// Capabilities are the mounts that the shim takes as they are, for containerd
// 2.4: it must not carry them out itself.
func Capabilities() *types.MountCapabilities {
	return &types.MountCapabilities{Types: []string{"erofs"}, Transforms: []string{"format", "mkdir"}}
}

// Annotation says the same to containerd 2.2 and 2.3, in a runtime's
// description.
const (
	Annotation      = "containerd.io/runtime-allow-mounts"
	AnnotationValue = "mkdir/*,format/*,erofs"
)

// Max is how many layers a container's root can have: the kernel stacks 500,
// but one page of options names some 400, and disks are limited too.
const Max = 200

// Of lists the files of the layers, the topmost first. None is an empty root.
func Of(mounts []*types.Mount) ([]string, error) {
	var files []string
	for i, m := range mounts {
		kind := m.Type[strings.LastIndex(m.Type, "/")+1:]
		switch {
		case kind == "erofs":
			for _, o := range m.Options {
				if strings.HasPrefix(o, "device=") {
					return nil, fmt.Errorf("%w: merged layers; remove max_unmerged_layers from the erofs snapshotter's configuration", errdefs.ErrInvalidArgument)
				}
			}
			files = append(files, m.Source)
		case kind == "ext4" && i < len(mounts)-1:
			// A disk for the writable part (default_size), which is not used either.
		case i == len(mounts)-1 && (kind == "overlay" && len(files) > 0 || kind == "bind" && len(mounts) == 1):
			// The writable part, which the guest has in its own memory.
		default:
			return nil, fmt.Errorf("%w: a microVM's root file system comes from containerd's erofs snapshotter, and this one is of type %q; set snapshotter = \"erofs\" for the runtime",
				errdefs.ErrFailedPrecondition, m.Type)
		}
	}
	if len(files) > Max {
		return nil, fmt.Errorf("%w: the image has %d layers: a microVM takes %d", errdefs.ErrInvalidArgument, len(files), Max)
	}
	return files, nil
}
