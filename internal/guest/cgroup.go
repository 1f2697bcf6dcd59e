package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroup is a container's control group.
type cgroup struct{ path string }

func newCgroup(id string, limits wire.Limits) (cgroup, error) {
	c := cgroup{filepath.Join(cgroupRoot, id)}
	if err := os.Mkdir(c.path, 0o755); err != nil {
		return c, fmt.Errorf("make the control group: %w", err)
	}
	// One process killed for memory ends the container, as the kubelet asks
	// of other runtimes.
	c.try("memory.oom.group", "1")
	if err := c.limit(limits); err != nil {
		return c, errors.Join(err, c.remove())
	}
	return c, nil
}

// limit applies limits; zero lifts one.
func (c cgroup) limit(l wire.Limits) error {
	quota, period, weight := "max", uint64(100000), uint64(100) // the kernel's own
	if l.Period > 0 {
		period = l.Period
	}
	if l.Quota > 0 {
		quota = strconv.FormatUint(max(l.Quota, 1000), 10)
	}
	if l.Weight > 0 {
		weight = min(l.Weight, 10000)
	}
	for _, setting := range []struct{ file, value string }{
		{"memory.max", orMax(l.Memory)},
		{"cpu.max", quota + " " + strconv.FormatUint(period, 10)},
		{"cpu.weight", strconv.FormatUint(weight, 10)},
		{"pids.max", orMax(l.Processes)},
	} {
		if err := c.write(setting.file, setting.value); err != nil {
			return err
		}
	}
	return nil
}

func orMax(v uint64) string {
	if v == 0 {
		return "max"
	}
	return strconv.FormatUint(v, 10)
}

func (c cgroup) write(file, value string) error {
	if err := os.WriteFile(filepath.Join(c.path, file), []byte(value), 0); err != nil {
		return fmt.Errorf("set %s to %s: %w", file, value, err)
	}
	return nil
}

// try writes a setting whose lack changes nothing that was promised.
func (c cgroup) try(file, value string) { _ = c.write(file, value) }

func (c cgroup) open() (*os.File, error) { return os.Open(c.path) }

// kill ends all of the group's processes.
func (c cgroup) kill() error { return c.write("cgroup.kill", "1") }

// signalAll sends a signal to all of the group's processes.
func (c cgroup) signalAll(number uint32) error {
	if number == uint32(unix.SIGKILL) {
		return c.kill()
	}
	pids, err := c.pids()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := unix.Kill(int(pid), unix.Signal(number)); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("send signal %d: %w", number, err)
		}
	}
	return nil
}

func (c cgroup) freeze(frozen bool) error {
	value := "0"
	if frozen {
		value = "1"
	}
	if err := c.write("cgroup.freeze", value); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if c.counters("cgroup.events")["frozen"] == uint64(value[0]-'0') {
			return nil
		}
	}
	return errors.New("the container's processes did not stop within 10s")
}

// frozen says whether the group's processes are stopped, or about to be.
func (c cgroup) frozen() bool { return c.number("cgroup.freeze") == 1 }

func (c cgroup) pids() ([]uint32, error) {
	text, err := os.ReadFile(filepath.Join(c.path, "cgroup.procs"))
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var list []uint32
	for field := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.ParseUint(field, 10, 32); err == nil && pid > 0 {
			list = append(list, uint32(pid))
		}
	}
	return list, nil
}

// counters reads a file of names and numbers; what is not there reads as 0.
func (c cgroup) counters(file string) map[string]uint64 {
	text, _ := os.ReadFile(filepath.Join(c.path, file))
	values := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			values[name], _ = strconv.ParseUint(value, 10, 64)
		}
	}
	return values
}

// number reads a file of one number; "max" is the largest.
func (c cgroup) number(file string) uint64 {
	text, _ := os.ReadFile(filepath.Join(c.path, file))
	value := strings.TrimSpace(string(text))
	if value == "max" {
		return 1<<64 - 1
	}
	n, _ := strconv.ParseUint(value, 10, 64)
	return n
}

func (c cgroup) oomKills() uint64 { return c.counters("memory.events")["oom_kill"] }

// remove ends what still runs in the group and takes the group away.
func (c cgroup) remove() error {
	var err error
	for range 500 {
		if err = os.Remove(c.path); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		_ = c.kill()
		time.Sleep(2 * time.Millisecond)
	}
	return fmt.Errorf("remove the control group: %w", err)
}
