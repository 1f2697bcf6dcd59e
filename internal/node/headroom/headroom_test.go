package headroom

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"redoubt.dev/redoubt/internal/processors"
)

const (
	greedy = "kubepods/burstable/pod11111111-1111-1111-1111-111111111111"
	modest = "kubepods/pod22222222-2222-2222-2222-222222222222"
)

// machine is the control groups of one, with a container in each pod.
type machine struct {
	t       *testing.T
	mounted string
	v1      bool
}

func (m machine) write(group, file, text string) {
	m.t.Helper()
	controller := ""
	if m.v1 {
		controller, _, _ = strings.Cut(file, ".")
	}
	dir := filepath.Join(m.mounted, controller, "redoubt", group)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// boot makes the groups; the first pod asks for half a processor, the other for two.
func boot(t *testing.T, v1 bool) machine {
	m := machine{t: t, mounted: t.TempDir(), v1: v1}
	for _, group := range []string{"", greedy, greedy + "/container", modest, modest + "/container"} {
		m.write(group, "cpuset.cpus", "0-3")
		if !v1 {
			m.write(group, "cpuset.cpus.effective", "0-3")
		}
	}
	for group, n := range map[string][2]string{greedy: {"512", "59"}, modest: {"2048", "174"}} {
		if v1 {
			m.write(group, "cpu.shares", n[0])
		} else {
			m.write(group, "cpu.weight", n[1])
		}
	}
	m.use(0)
	return m
}

// use says what both pods have used.
func (m machine) use(used time.Duration) {
	for _, group := range []string{greedy, modest} {
		if m.v1 {
			m.write(group, "cpuacct.usage", fmt.Sprint(used.Nanoseconds()))
		} else {
			m.write(group, "cpu.stat", fmt.Sprintf("usage_usec %d\nuser_usec 1", used.Microseconds()))
		}
	}
}

// has are the processors that a group was given.
func (m machine) has(group string) string {
	m.t.Helper()
	dir := filepath.Join(m.mounted, "redoubt", group)
	if m.v1 {
		dir = filepath.Join(m.mounted, "cpuset", "redoubt", group)
	}
	text, err := os.ReadFile(filepath.Join(dir, "cpuset.cpus"))
	if err != nil {
		m.t.Fatal(err)
	}
	if !m.v1 && group == greedy { // as the kernel does it
		m.write(group, "cpuset.cpus.effective", strings.TrimSpace(string(text)))
	}
	s, err := processors.Parse(string(text))
	if err != nil {
		m.t.Fatal(err)
	}
	return s.String()
}

// TestGreedyPods lets two pods use one and a half processors each, one of which
// asked for half of one, and the other for two.
func TestGreedyPods(t *testing.T) {
	const all, fewer = "0,1,2,3", "0,1,2"
	for version, v1 := range map[string]bool{"version 1": true, "version 2": false} {
		t.Run(version, func(t *testing.T) {
			m := boot(t, v1)
			m.use(time.Hour)
			h, err := New(m.mounted, "redoubt")
			if err != nil {
				t.Fatal(err)
			}
			now, used := time.Unix(0, 0), time.Hour
			for second, want := range []string{all, all, fewer, fewer, fewer, fewer, fewer, all, all} {
				if err := h.look(now); err != nil {
					t.Fatal(err)
				}
				if got := m.has(greedy); got != want {
					t.Errorf("second %d: the greedy one has %s, want %s", second, got, want)
				}
				if got := m.has(modest); got != all {
					t.Errorf("second %d: the modest one has %s", second, got)
				}
				if got := m.has(greedy + "/container"); v1 && got != want {
					t.Errorf("second %d: a container of the greedy one has %s, want %s", second, got, want)
				}
				if now = now.Add(time.Second); second < 3 {
					used += 1500 * time.Millisecond
				}
				m.use(used)
			}
		})
	}
}

// TestRequestsHaveRoom holds no more pods than can have what they request where
// they are held, of two that take all there is.
func TestRequestsHaveRoom(t *testing.T) {
	m := boot(t, true)
	m.write(greedy, "cpu.shares", "2048")
	h, err := New(m.mounted, "redoubt")
	if err != nil {
		t.Fatal(err)
	}
	for second, step := range []struct{ shares, want string }{
		{"1024", "0,1,2,3"}, {"1024", "0,1,2"}, {"1025", "0,1,2,3"}, {"1024", "0,1,2"}, {"4096", "0,1,2,3"},
	} {
		m.write(modest, "cpu.shares", step.shares)
		m.use(time.Duration(second) * 8 * time.Second)
		if err := h.look(time.Unix(int64(second), 0)); err != nil {
			t.Fatal(err)
		}
		if got := m.has(modest); got != step.want {
			t.Errorf("second %d: with %s shares the second one has %s, want %s", second, step.shares, got, step.want)
		}
	}
	if got := m.has(greedy); got != "0,1,2" {
		t.Errorf("the first one has %s", got)
	}
}

func TestBegunAnew(t *testing.T) {
	m := boot(t, true)
	m.write(greedy+"/container", "cpuset.cpus", "0-2")
	m.write(greedy, "cpuset.cpus", "0-2")
	h, err := New(m.mounted, "redoubt")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.look(time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	if got := m.has(greedy); got != "0,1,2,3" {
		t.Errorf("what an earlier watch held has %s", got)
	}
}

// TestProcessorsOfOnesOwn leaves a pod alone whose containers the kubelet keeps on
// processors of their own.
func TestProcessorsOfOnesOwn(t *testing.T) {
	m := boot(t, true)
	m.write(greedy+"/container", "cpuset.cpus", "2")
	h, err := New(m.mounted, "redoubt")
	if err != nil {
		t.Fatal(err)
	}
	for second := range 4 {
		m.use(time.Duration(second) * 2 * time.Second)
		err = h.look(time.Unix(int64(second), 0))
	}
	if err == nil {
		t.Error("nobody is told")
	}
	if got := m.has(greedy); got != "0,1,2,3" {
		t.Errorf("it has %s", got)
	}
}

func TestNoSets(t *testing.T) {
	if _, err := New(t.TempDir(), "redoubt"); err == nil {
		t.Error("processors are kept free where no group has its own")
	}
}

// TestShares compares with what kubelets write for the same requests.
func TestShares(t *testing.T) {
	for weight, want := range map[float64][2]float64{1: {0, 2}, 17: {95, 105}, 59: {505, 525}, 100: {1010, 1030}, 174: {2030, 2060}} {
		if got := shares(weight); got < want[0] || got > want[1] {
			t.Errorf("a weight of %v is %v shares, want %v", weight, got, want)
		}
	}
}
