package template_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/template"
	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/microvm/vmm/vmmtest"
)

func TestClone(t *testing.T) {
	store := template.Store{Dir: t.TempDir(), Image: vmmtest.ShellImage(t), Await: vmmtest.AwaitShell}
	made, err := store.Open(vmmtest.Context(t), vmmtest.Config(t).Shape)
	if err != nil {
		t.Fatal(err)
	}
	clone := func(t *testing.T) vmm.Machine {
		m, err := made.Clone(vmmtest.Context(t), vmmtest.Config(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Kill)
		return m
	}
	t.Run("contract", func(t *testing.T) { vmmtest.Run(t, clone) })
	t.Run("apart", func(t *testing.T) { testApart(t, store.Dir, clone(t), clone(t)) })
	t.Run("kept", func(t *testing.T) { testKept(t, store) })
	t.Run("nothing left", func(t *testing.T) { testNothingLeft(t, store.Dir) })
}

// testApart writes in one copy: neither the other nor the template changes.
func testApart(t *testing.T, dir string, one, other vmm.Machine) {
	saved := memory(t, dir)
	before, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	first, second := vmmtest.NewShell(t, one), vmmtest.NewShell(t, other)
	first.Run("mkdir /t && mount -t tmpfs t /t && yes redoubt-mark | head -c 4000000 > /t/mark && echo one > /proc/sys/kernel/hostname")
	second.Run("[ ! -e /t/mark ] && [ $(hostname) != one ]")
	after, err := os.ReadFile(saved)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the template's memory changed (%v)", err)
	}
	// That the mark is in the copy's own memory shows that the comparison
	// would have found it.
	if !private(t, one.PID()) {
		t.Error("the copy has no private pages of the template's memory")
	}
	testReadOnly(t, saved, one.PID())
}

// testReadOnly checks that a machine's process could not write the template
// if it tried: neither with the file that it holds nor by its name.
func testReadOnly(t *testing.T, saved string, pid int) {
	info, err := os.Stat(saved)
	if err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("the template's memory has mode %v, want -r--r--r-- (%v)", info.Mode(), err)
	}
	found := false
	entries, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range entries {
		if target, _ := os.Readlink(fd); target != "/memory" {
			continue
		}
		found = true
		data, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(fd)), "fdinfo", filepath.Base(fd)))
		if err != nil {
			t.Fatal(err)
		}
		var flags int
		for line := range strings.Lines(string(data)) {
			if value, ok := strings.CutPrefix(line, "flags:"); ok {
				_, _ = fmt.Sscanf(strings.TrimSpace(value), "%o", &flags)
			}
		}
		if flags&unix.O_ACCMODE != unix.O_RDONLY {
			t.Errorf("a machine's process holds the template's memory open for writing (flags %o)", flags)
		}
	}
	if !found {
		t.Error("the machine's process does not hold the template's memory: the check above checked nothing")
	}
}

// private says whether a process has pages of its own in its mapping of the
// template's memory.
func private(t *testing.T, pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, mapping, ok := strings.Cut(string(data), " /memory\n")
	_, anonymous, found := strings.Cut(mapping, "\nAnonymous:")
	return ok && found && !strings.HasPrefix(strings.TrimSpace(anonymous), "0 kB")
}

func memory(t *testing.T, dir string) string {
	found, err := filepath.Glob(filepath.Join(dir, "templates", "*", "root", "memory"))
	if err != nil || len(found) != 1 {
		t.Fatalf("templates' memory: %v, %v, want one", found, err)
	}
	return found[0]
}

// testKept opens the template again, and another shape's: one is there, the
// other is made.
func testKept(t *testing.T, store template.Store) {
	shape := vmmtest.Config(t).Shape
	saved := memory(t, store.Dir)
	before, err := os.Stat(saved)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(vmmtest.Context(t), shape); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(saved); err != nil || !os.SameFile(before, after) {
		t.Errorf("an unchanged template was made again (%v)", err)
	}
	// One of another boot is made again, and goes.
	boot, err := vmm.Boot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(filepath.Dir(saved))
	other := strings.Replace(dir, boot, "another", 1)
	if err := os.Rename(dir, other); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(vmmtest.Context(t), shape); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other); !os.IsNotExist(err) || memory(t, store.Dir) != saved {
		t.Errorf("another boot's template is kept (%v)", err)
	}
	now := time.Now()
	if err := os.Chtimes(store.Image.Initramfs, now, now); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(vmmtest.Context(t), shape); err != nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob(filepath.Join(store.Dir, "templates", "*", "state")); len(found) != 1 {
		t.Errorf("after the guest changed there are %d templates, want the new one alone", len(found))
	}
}

func testNothingLeft(t *testing.T, dir string) {
	left, err := filepath.Glob(filepath.Join(dir, "*", ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestHungBoot boots a guest that never gets ready.
func TestHungBoot(t *testing.T) {
	store := template.Store{
		Dir: t.TempDir(), Await: vmmtest.AwaitShell, BootLimit: time.Second,
		Image: vmmtest.WithInit(t, "#!/bin/busybox sh\n/bin/busybox sleep 1000\n"),
	}
	var opened sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		opened.Go(func() { _, errs[i] = store.Open(vmmtest.Context(t), vmmtest.Config(t).Shape) })
	}
	opened.Wait()
	for _, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "the guest was not ready within 1s") {
			t.Errorf("error %v, want one that says how long was waited", err)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(store.Dir, "templates")); err != nil || len(entries) != 0 {
		t.Errorf("templates: %v, %v, want none", entries, err)
	}
	testNothingLeft(t, store.Dir)
}
