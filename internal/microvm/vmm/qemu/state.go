package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/microvm/vmm/qmp"
)

// memoryFile is the saved memory inside a copy's root, memoryGuard what makes
// QEMU open it for reading only.
const (
	memoryFile  = "/memory"
	memoryGuard = "/memory.so"
)

// StartPattern boots a machine like Start, one that can be saved.
func StartPattern(ctx context.Context, root Root, config vmm.Config) (*Machine, error) {
	return run(ctx, root, config, pattern)
}

// Save stops a machine that StartPattern made and writes its devices' state
// and its memory. The machine is of no further use.
func (m *Machine) Save(ctx context.Context, state, memory *os.File) error {
	if err := m.save(ctx, state, memory); err != nil {
		return m.failed("save a virtual machine", err)
	}
	return nil
}

func (m *Machine) save(ctx context.Context, state, memory *os.File) error {
	if err := m.monitor.Do(ctx, "stop", nil, nil); err != nil {
		return err
	}
	if err := m.keepMemoryOut(ctx); err != nil {
		return err
	}
	if err := m.monitor.Do(ctx, "getfd", map[string]any{"fdname": "state"}, nil, state); err != nil {
		return err
	}
	if err := m.monitor.Do(ctx, "migrate", map[string]any{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	if err := m.awaitMigration(ctx); err != nil {
		return err
	}
	return m.copyMemory(memory)
}

// Copy starts a machine that goes on where the saved one stopped, with the
// memory that is in root (AddMemory) mapped privately, and state its devices'.
// It is paused still.
func Copy(ctx context.Context, root Root, state *os.File, config vmm.Config) (*Machine, error) {
	m, err := run(ctx, root, config, copied)
	if err != nil {
		return nil, err
	}
	if err := m.load(ctx, state); err != nil {
		m.Kill()
		return nil, fmt.Errorf("copy a virtual machine: %w", errors.Join(err, m.complaint()))
	}
	return m, nil
}

func (m *Machine) load(ctx context.Context, state *os.File) error {
	if err := m.keepMemoryOut(ctx); err != nil {
		return err
	}
	if err := m.monitor.Do(ctx, "getfd", map[string]any{"fdname": "state"}, nil, state); err != nil {
		return err
	}
	if err := m.monitor.Do(ctx, "migrate-incoming", map[string]any{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	return m.awaitMigration(ctx)
}

// keepMemoryOut leaves memory that is in a file out of the state, and has the
// end of the transfer reported.
func (m *Machine) keepMemoryOut(ctx context.Context) error {
	type capability struct {
		Name  string `json:"capability"`
		State bool   `json:"state"`
	}
	return m.monitor.Do(ctx, "migrate-set-capabilities", map[string]any{
		"capabilities": []capability{{"x-ignore-shared", true}, {"events", true}},
	}, nil)
}

func (m *Machine) awaitMigration(ctx context.Context) error {
	select {
	case status := <-m.migrated:
		if status != "completed" {
			return fmt.Errorf("the state's transfer %s", status)
		}
		return nil
	case <-m.done:
		return vmm.ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// noteMigration passes on how a transfer ended.
func (m *Machine) noteMigration(e qmp.Event) {
	var data struct{ Status string }
	if json.Unmarshal(e.Data, &data) == nil && (data.Status == "completed" || data.Status == "failed") {
		select {
		case m.migrated <- data.Status:
		default:
		}
	}
}

// copyMemory copies the machine's memory out of the memfd that its process
// has: so the process needs no right to write any file.
func (m *Machine) copyMemory(to *os.File) error {
	dir := fmt.Sprintf("/proc/%d/fd", m.PID())
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if target, err := os.Readlink(path); err == nil && strings.HasPrefix(target, "/memfd:memory-backend-memfd") {
			from, err := os.Open(path)
			if err != nil {
				return err
			}
			defer from.Close()
			return copySparse(to, from)
		}
	}
	return errors.New("qemu has no memory file")
}

// copySparse copies from's data and keeps its holes: most of a small guest's
// memory was never touched.
func copySparse(to, from *os.File) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if err := to.Truncate(info.Size()); err != nil {
		return err
	}
	for at := int64(0); ; {
		begin, err := from.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return err
		}
		if at, err = from.Seek(begin, unix.SEEK_HOLE); err != nil {
			return err
		}
		if _, err := from.Seek(begin, io.SeekStart); err != nil {
			return err
		}
		if _, err := to.Seek(begin, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(to, from, at-begin); err != nil {
			return err
		}
	}
}
