package build

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// requireRoot skips where packages cannot be unpacked with their owners.
func requireBootstrap(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		t.Skip("mmdebstrap is not installed")
	}
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
}

func TestDebianIsReproducible(t *testing.T) {
	requireBootstrap(t)
	var digests []string
	for range 2 {
		var steps []string
		image, err := Debian(context.Background(), Packages{Names: []string{"busybox-static"}},
			Contents{Links: map[string]string{"/bin/sh": "busybox"}}, func(s string) { steps = append(steps, s) })
		if err != nil {
			t.Fatal(err)
		}
		defer image.Close()
		t.Log(image.Layers[0].Descriptor.Size, steps)
		digests = append(digests, image.Manifest.Descriptor.Digest.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("the same packages gave %s and %s", digests[0], digests[1])
	}
}

func TestDebianRefuses(t *testing.T) {
	for name, p := range map[string]Packages{
		"no package":      {},
		"an option":       {Names: []string{"--variant=standard"}},
		"an apt pattern":  {Names: []string{"?essential"}},
		"a list":          {Names: []string{"bash,dash"}},
		"a bad exclusion": {Names: []string{"bash"}, Exclude: []string{"/usr/[a"}},
	} {
		if _, err := Debian(context.Background(), p, Contents{}, func(string) {}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestDebianNamesTheMissingPackage(t *testing.T) {
	requireBootstrap(t)
	_, err := Debian(context.Background(), Packages{Names: []string{"no-such-package-here"}}, Contents{}, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "no-such-package-here") {
		t.Errorf("got %v", err)
	}
}
