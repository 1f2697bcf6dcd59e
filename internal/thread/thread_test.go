package thread

import (
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNeverTheFirst asks often enough that the first thread would have been
// among those that answered.
func TestNeverTheFirst(t *testing.T) {
	before, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 200 {
		wait.Add(1)
		Go(func() {
			defer wait.Done()
			if unix.Gettid() == unix.Getpid() {
				t.Error("the work runs on the process's first thread")
			}
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if after, err := os.Readlink("/proc/self/ns/mnt"); err != nil || after != before {
		t.Errorf("the process moved from %s to %s (%v)", before, after, err)
	}
}
