package idmap

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTry accepts both answers of the test's machine, but wants one that the
// kernel gave, and a folder that cannot be mapped refused.
func TestTry(t *testing.T) {
	if err := Try(t.TempDir()); err != nil {
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.ENOSPC) {
			t.Errorf("the kernel does not say this of mapped mounts: %v", err)
		}
		t.Logf("this machine has no user namespaces for pods: %v", err)
		return
	}
	// proc has no owners to map, on any kernel.
	if err := Try("/proc"); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
		t.Errorf("mapping the owners in /proc: %v, want a refusal", err)
	}
}
