package cluster

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/instance"
)

// filled makes files in the instance's data folder.
func filled(t *testing.T, inst instance.Instance, names ...string) {
	t.Helper()
	for _, name := range names {
		path := inst.Data(name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("data"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDataFolderHasOneOwner(t *testing.T) {
	inst := unbooted(t)
	unlock, err := lock(inst)
	if err != nil {
		t.Fatal(err)
	}
	if err := claim(inst); err != nil {
		t.Fatal(err)
	}
	unlock()
	filled(t, inst, "etcd/member")
	for range 2 { // its own it may have again
		unlock, err := lock(inst)
		if err != nil {
			t.Fatal(err)
		}
		if err := claim(inst); err != nil {
			t.Error(err)
		}
		unlock()
	}
	other, err := instance.New("test-other", inst.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"lock": func() error { _, err := lock(other); return err }(), "claim": claim(other), "purge": purge(other)} {
		if err == nil || !strings.Contains(err.Error(), inst.Name) {
			t.Errorf("%s by another instance: %v, want it to name the owner", what, err)
		}
	}
	if _, err := os.Stat(inst.Data("etcd", "member")); err != nil {
		t.Errorf("the owner's data: %v", err)
	}
	if _, err := os.Stat(other.RunDir()); err == nil {
		t.Error("the other instance has a run folder")
	}
	if err := purge(inst); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(inst.DataDir); !os.IsNotExist(err) {
		t.Errorf("the data folder after a purge: %v", err)
	}
}

// Earlier versions wrote no name; of what they have booted, the state tells.
func TestDataFolderOfARunningInstanceIsKept(t *testing.T) {
	inst := unbooted(t)
	filled(t, inst, "etcd/x", "registries/x", "logs/x")
	unlock, err := lock(inst)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := inst.SaveState(instance.State{DataDir: inst.DataDir}); err != nil {
		t.Fatal(err)
	}
	other, err := instance.New("test-other", inst.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(other); err == nil || !strings.Contains(err.Error(), inst.Name) {
		t.Errorf("lock by another instance: %v, want it to name the owner", err)
	}
}

func TestFolderThatIsNoInstancesIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		ours  bool
	}{
		"nothing":                    {nil, true},
		"a new file system":          {[]string{"lost+found/x"}, true},
		"settings":                   {[]string{"registries/localhost:5000/hosts.toml"}, true},
		"of an earlier version":      {[]string{"etcd/x", "registries/x", "logs/x"}, true},
		"half a purge":               {[]string{"instance", "containerd/x"}, true},
		"something else":             {[]string{"letters/x"}, false},
		"something else, with parts": {[]string{"logs/x", "etcd/x"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inst := unbooted(t)
			filled(t, inst, c.files...)
			if err := os.Chmod(inst.DataDir, 0o755); err != nil {
				t.Fatal(err)
			}
			if name == "half a purge" {
				if err := os.WriteFile(inst.Data(ownerFile), []byte(inst.Name), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			unlock, err := lock(inst)
			if (err == nil) != c.ours {
				t.Errorf("lock: %v, want success %t", err, c.ours)
			}
			if err == nil {
				unlock()
			}
			if err := claim(inst); (err == nil) != c.ours {
				t.Errorf("claim: %v, want success %t", err, c.ours)
			}
			if !c.ours {
				if _, err := os.Stat(inst.Data(ownerFile)); err == nil {
					t.Error("it has an owner")
				}
			}
			if err := purge(inst); (err == nil) != c.ours {
				t.Errorf("purge: %v, want success %t", err, c.ours)
			}
			for _, file := range c.files {
				if _, err := os.Stat(inst.Data(file)); (err != nil) != c.ours {
					t.Errorf("%s after a purge: %v", file, err)
				}
			}
		})
	}
}

// mounted mounts a file system of somebody else's for as long as the test.
func mounted(t *testing.T, at string) {
	t.Helper()
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
}

// A folder that was mistyped may be anybody's, who has a kubelet, too.
func TestDownKeepsOthersMounts(t *testing.T) {
	inst := unbooted(t)
	foreign := inst.Data("kubelet", "pods", "volume")
	if err := os.MkdirAll(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	mounted(t, foreign)
	filled(t, inst, "kubelet/pods/volume/precious")
	if err := Down(t.Context(), inst, false, io.Discard); err == nil || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("down: %v, want it to refuse the folder", err)
	}
	if _, err := os.Stat(filepath.Join(foreign, "precious")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(inst.RunDir()); err == nil {
		t.Error("it has a run folder")
	}
}

// What was booted can be ended, whatever has become of its folder.
func TestFolderOfWhatWasBootedIsOurs(t *testing.T) {
	inst := unbooted(t)
	unlock, err := lock(inst)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(claim(inst), inst.SaveState(instance.State{DataDir: inst.DataDir}), os.Remove(inst.Data(ownerFile))); err != nil {
		t.Fatal(err)
	}
	unlock()
	filled(t, inst, "kubelet/left")
	unlock, err = lock(inst)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := claim(inst); err != nil || ownerIn(inst) != inst.Name {
		t.Errorf("the owner is %q, %v", ownerIn(inst), err)
	}
}

// Mounts are listed by paths without links, and a purge sees them through one.
func TestPurgeSeesMountsThroughALink(t *testing.T) {
	inst := unbooted(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(inst.DataDir, link); err != nil {
		t.Fatal(err)
	}
	foreign := inst.Data("foreign")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	mounted(t, foreign)
	inst, err := instance.New(inst.Name, link)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(inst.Data(ownerFile), []byte(inst.Name), 0o600); err != nil {
		t.Fatal(err)
	}
	filled(t, inst, "foreign/precious")
	if err := purge(inst); err == nil || !strings.Contains(err.Error(), "umount "+foreign) {
		t.Errorf("purge: %v, want it to name the mount", err)
	}
	if _, err := os.Stat(filepath.Join(foreign, "precious")); err != nil {
		t.Error(err)
	}
}
