package cgroup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"redoubt.dev/redoubt/internal/thread"
)

// patience is how long systemd may take for an answer. It takes milliseconds.
const patience = 10 * time.Second

// scope is one of systemd's units, which has a control group below a slice's.
// See systemd.scope(5) and org.freedesktop.systemd1(5).
type scope struct{ slice, name string }

// parseScope reads SLICE:PREFIX:NAME, as runc and crun do: the group is
// PREFIX-NAME.scope below the slice, and below those that its name tells of.
func parseScope(name string) (Group, error) {
	parts := strings.Split(name, ":")
	slice, id := parts[0], parts[1]+"-"+parts[2]
	dir, err := folderOf(slice)
	if err != nil || strings.Contains(name, "/") {
		return Group{}, fmt.Errorf("control group %s is not SLICE:PREFIX:NAME", name)
	}
	unit := scope{slice: slice, name: id + ".scope"}
	return Group{path: filepath.Join(dir, unit.name), unit: unit}, nil
}

// folderOf is where a slice is: a-b.slice is in a.slice (systemd.slice(5)).
func folderOf(slice string) (string, error) {
	name, ok := strings.CutSuffix(slice, ".slice")
	if !ok || name == "" {
		return "", errors.New("no slice")
	}
	dir, above := "/", ""
	for part := range strings.SplitSeq(name, "-") {
		if part == "" {
			return "", errors.New("no slice")
		}
		above += part
		dir = filepath.Join(dir, above+".slice")
		above += "-"
	}
	return dir, nil
}

// start has systemd make the scope, which needs a process. That of its own ends
// when let is called.
func (s scope) start(ctx context.Context) (let func(), err error) {
	pid, let, err := thread.Idle(syscall.SysProcAttr{})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			let()
		}
	}()
	yes := func(name string) dbus.Property { return property(name, true) }
	properties := []dbus.Property{
		dbus.PropDescription("Redoubt's virtual machine of a pod"),
		dbus.PropSlice(s.slice), dbus.PropPids(uint32(pid)),
		// What is in it is not systemd's to arrange, nor to end before the kubelet does.
		yes("Delegate"), property("DefaultDependencies", false), property("CollectMode", "inactive-or-failed"),
		yes("CPUAccounting"), yes("MemoryAccounting"), yes("TasksAccounting"),
	}
	return let, s.ask(ctx, func(ctx context.Context, c *dbus.Conn) error {
		return await(ctx, func(result chan<- string) error {
			_, err := c.StartTransientUnitContext(ctx, s.name, "replace", properties, result)
			return err
		})
	})
}

// stop has systemd forget the scope, which may have ended with its last process.
func (s scope) stop(ctx context.Context) error {
	return s.ask(ctx, func(ctx context.Context, c *dbus.Conn) error {
		err := await(ctx, func(result chan<- string) error {
			_, err := c.StopUnitContext(ctx, s.name, "replace", result)
			return err
		})
		var answer godbus.Error
		if errors.As(err, &answer) && answer.Name == "org.freedesktop.systemd1.NoSuchUnit" {
			return nil
		}
		return err
	})
}

// limit lets the scope use so much memory, in bytes.
func (s scope) limit(ctx context.Context, bytes int64) error {
	most := uint64(bytes)
	if bytes == noLimit {
		most = math.MaxUint64
	}
	return s.ask(ctx, func(ctx context.Context, c *dbus.Conn) error {
		return c.SetUnitPropertiesContext(ctx, s.name, true, property("MemoryMax", most))
	})
}

func property(name string, value any) dbus.Property {
	return dbus.Property{Name: name, Value: godbus.MakeVariant(value)}
}

// ask connects to systemd for a question.
func (s scope) ask(ctx context.Context, question func(context.Context, *dbus.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := dbus.NewWithContext(ctx)
	if err != nil {
		return fmt.Errorf("ask systemd for %s in %s: %w; does it run here? Otherwise set the kubelet's cgroupDriver to cgroupfs", s.name, s.slice, err)
	}
	defer c.Close()
	if err := question(ctx, c); err != nil {
		return fmt.Errorf("ask systemd for %s in %s: %w", s.name, s.slice, err)
	}
	return nil
}

// await waits for the end of a job of systemd's.
func await(ctx context.Context, begin func(result chan<- string) error) error {
	result := make(chan string, 1)
	if err := begin(result); err != nil {
		return err
	}
	select {
	case r := <-result:
		if r != "done" {
			return errors.New("the job ended as " + r)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
