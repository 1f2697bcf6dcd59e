package volume

import (
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestLayersOf(t *testing.T) {
	erofs := func(at, file string) *mountinfo.Info {
		return &mountinfo.Info{FSType: "erofs", Mountpoint: at, Source: file}
	}
	overlay := func(options string) *mountinfo.Info {
		return &mountinfo.Info{FSType: "overlay", Mountpoint: "/v/image-volumes/p/i", VFSOptions: options}
	}
	for _, c := range []struct {
		name   string
		mounts []*mountinfo.Info
		want   []string
	}{
		{"two layers", []*mountinfo.Info{erofs("/t/1", "/s/1"), erofs("/t/2", "/s/2"), overlay("rw,lowerdir=/t/2:/t/1,upperdir=/u")}, []string{"/s/2", "/s/1"}},
		{"one option each", []*mountinfo.Info{erofs("/t/1", "/s/1"), erofs("/t/2", "/s/2"), overlay("rw,lowerdir+=/t/2,lowerdir+=/t/1")}, []string{"/s/2", "/s/1"}},
		{"a folder among them", []*mountinfo.Info{erofs("/t/1", "/s/1"), overlay("lowerdir=/etc:/t/1")}, nil},
		{"not mounted", []*mountinfo.Info{erofs("/t/1", "/s/1")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := layersOf("/v/image-volumes/p/i", c.mounts); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestImageRoot(t *testing.T) {
	for _, path := range []string{"/v/image-volumes/p/i", "/v/image-volumes/p/i/etc/nginx"} {
		if got := imageRoot(path); got != "/v/image-volumes/p/i" {
			t.Errorf("%s: got %s", path, got)
		}
	}
}

func TestImageIsNotWritten(t *testing.T) {
	if _, err := image(specs.Mount{Destination: "/x", Source: "/v/image-volumes/p/i"}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("got %v", err)
	}
}
