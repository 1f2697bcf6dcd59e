package freezer

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"redoubt.dev/redoubt/internal/node/groups"
)

// The hierarchies that can freeze: version 1's own, or the unified one.
const (
	freezerV1 = groups.Mounts + "/freezer"
	unified   = groups.Mounts
)

const (
	// freezeLimit is how long processes may take to stop. Those in the middle
	// of something with a device cannot stop at once.
	freezeLimit = time.Second
	// freezePause is the time between two looks at them.
	freezePause = time.Millisecond
)

// group is a pod's control group, which all of its processes are in or below.
type group struct {
	control       string // the file to write to
	freeze, thaw  string // what to write
	state, frozen string // the file that says how it is, and its line for frozen
}

// group is the pod's with that directory.
func (h hierarchy) group(dir string) group {
	if h.v1 {
		state := filepath.Join(dir, "freezer.state")
		return group{control: state, freeze: "FROZEN", thaw: "THAWED", state: state, frozen: "FROZEN"}
	}
	return group{
		control: filepath.Join(dir, "cgroup.freeze"), freeze: "1", thaw: "0",
		state: filepath.Join(dir, "cgroup.events"), frozen: "frozen 1",
	}
}

// Freeze returns once every process has stopped. It gives up, and thaws, when
// they do not in time, when wanted says that they are needed, or when nobody can
// tell. Where they could not be thawed either, some may have stopped.
func (g group) Freeze(ctx context.Context, wanted func() bool) (stopped bool, err error) {
	if err := g.write(g.freeze); err != nil {
		return false, err
	}
	if err := g.stop(ctx, wanted); err != nil {
		thawed := g.Thaw()
		return thawed != nil, errors.Join(err, thawed)
	}
	return true, nil
}

// stop waits until every process that was told to has stopped.
func (g group) stop(ctx context.Context, wanted func() bool) error {
	for begin := time.Now(); ; {
		done, err := g.Frozen()
		if done || err != nil {
			return err
		}
		if time.Since(begin) > freezeLimit || wanted() || ctx.Err() != nil {
			return errors.New("its processes did not stop in time")
		}
		time.Sleep(freezePause)
		// Version 1 looks at its processes again when it is told again.
		if err := g.write(g.freeze); err != nil {
			return err
		}
	}
}

// Thaw lets the processes go on. A group that is gone has none.
func (g group) Thaw() error {
	err := g.write(g.thaw)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

func (g group) write(value string) error { return os.WriteFile(g.control, []byte(value), 0) }

// Frozen says whether every process has stopped.
func (g group) Frozen() (bool, error) {
	content, err := os.ReadFile(g.state)
	if err != nil {
		return false, err
	}
	for line := range bytes.Lines(content) {
		if string(bytes.TrimSpace(line)) == g.frozen {
			return true, nil
		}
	}
	return false, nil
}
