package layers

import (
	"slices"
	"testing"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
)

func erofs(file string) *types.Mount {
	return &types.Mount{Type: "erofs", Source: file, Options: []string{"ro", "loop"}}
}

func TestOf(t *testing.T) {
	overlay := &types.Mount{Type: "format/mkdir/overlay", Source: "overlay", Options: []string{"lowerdir={{ overlay 0 1 }}"}}
	for _, c := range []struct {
		name   string
		mounts []*types.Mount
		want   []string
	}{
		{"no layers", []*types.Mount{{Type: "bind", Source: "/snapshots/1/fs"}}, nil},
		{"one", []*types.Mount{erofs("/a"), overlay}, []string{"/a"}},
		{"a disk to write on", []*types.Mount{erofs("/a"), {Type: "ext4", Source: "/rw"}, overlay}, []string{"/a"}},
		{"the topmost first", []*types.Mount{erofs("/top"), erofs("/base"), overlay}, []string{"/top", "/base"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Of(c.mounts)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

func TestOfRefuses(t *testing.T) {
	merged := erofs("/meta")
	merged.Options = append(merged.Options, "device=/a")
	var many []*types.Mount
	for range Max + 1 {
		many = append(many, erofs("/a"))
	}
	for _, c := range []struct {
		name   string
		mounts []*types.Mount
		is     func(error) bool
	}{
		{"another snapshotter's", []*types.Mount{{Type: "overlay", Options: []string{"lowerdir=/a:/b"}}}, errdefs.IsFailedPrecondition},
		{"merged layers", []*types.Mount{merged}, errdefs.IsInvalidArgument},
		{"too many", many, errdefs.IsInvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := Of(c.mounts); !c.is(err) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}
