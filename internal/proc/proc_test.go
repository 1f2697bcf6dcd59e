package proc

import (
	"os"
	"testing"
	"time"
)

func TestReadsWhatTheKernelSays(t *testing.T) {
	m, err := parseMemory("5581a4d5d000-7ffd1f5f9000 ---p 00000000 00:00 0    [rollup]\n" +
		"Rss:   1024 kB\nPss:   512 kB\nPss_Anon:   64 kB\nPss_Shmem:   32 kB\nAnonymous:   16 kB\n")
	if want := (Memory{Resident: 1 << 20, Share: 1 << 19, Own: 96 << 10, Anonymous: 16 << 10}); err != nil || m != want {
		t.Errorf("%+v, %v; want %+v", m, err, want)
	}
	times, err := parseTimes("42 (a name) (with) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 20 10 20 0 9 0 100 200 300\n")
	if want := (Times{Parent: 7, Own: 2 * time.Second, Children: 300 * time.Millisecond}); err != nil || times != want {
		t.Errorf("%+v, %v; want %+v", times, err, want)
	}
	times, err = parseTimes("7 (a ) (b)) S 1 7 7 0 -1 4194560 1 0 0 0 1 0 0 0 20 0 9 0 5")
	if want := (Times{Parent: 1, Own: 10 * time.Millisecond}); err != nil || times != want {
		t.Errorf("%+v, %v; want %+v", times, err, want)
	}
	for _, short := range []string{"", "7 (x", "42 (a) S 1", "7 (x) S 1 7 7 0 -1 4194560 1 0 0 0 much 1 0 0 20 0", "42 (a) S x 1 1 1 1 1 1 1 1 1 1 1 1 1 1"} {
		if _, err := parseTimes(short); err == nil {
			t.Errorf("%q is taken", short)
		}
	}
}

func TestReadsThisProcess(t *testing.T) {
	m, err := MemoryOf(os.Getpid())
	if err != nil || m.Share <= 0 || m.Own <= 0 || m.Own > m.Share || m.Share > m.Resident {
		t.Errorf("%+v, %v", m, err)
	}
	times, err := TimesOf(os.Getpid())
	if err != nil || times.Parent != os.Getppid() {
		t.Errorf("%+v, %v", times, err)
	}
	if _, err := MemoryOf(1 << 30); err == nil {
		t.Error("a process that is not there has memory")
	}
}
