// Package template starts virtual machines as copies of one that has booted
// already.
//
// A template is a machine that was booted up to the idle agent, stopped and
// saved: its devices' state in one file, its memory in another. A copy maps
// the memory privately: pages that it does not write are shared between all
// copies, in the host's page cache. A template is made before any pod is
// known and nothing of a pod is ever saved into one. What must differ between
// copies (random state, clock, host name, addresses) the agent takes from its
// first call.
//
// Templates are kept in a folder, one for each shape of a machine and each version
// of what it was made from, as long as the host runs; making one takes some seconds,
// once.
package template

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"redoubt.dev/redoubt/internal/microvm/filelock"
	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/microvm/vmm/qemu"
)

// Store is a folder of templates for one guest image. Several processes may
// use the same folder.
type Store struct {
	// Dir is made when it is missing, for root alone. Templates take some 70
	// MiB each.
	Dir string
	// Image is what is booted.
	Image qemu.Image
	// Await returns when the agent at the other end of the channel is idle and
	// may be copied.
	Await func(io.Reader) error
	// BootLimit is how long one boot may take; the default is a minute.
	BootLimit time.Duration
}

// FolderVariable names the environment variable that says where this machine's
// templates are kept. Shims have it from containerd, whose environment they
// get.
const FolderVariable = "REDOUBT_MICROVM_DIR"

// Folder is where this machine's templates are kept: a cache, of nothing that
// is a pod's. By default it is the system's own.
func Folder() string { return cmp.Or(os.Getenv(FolderVariable), "/var/cache/redoubt/microvm") }

// Template is one saved machine.
type Template struct {
	shape vmm.Shape
	root  qemu.Root
	state string // the file with its devices' state
}

// Open returns the template for machines of that shape, and makes it unless it
// is there. Who opens it meanwhile waits for whoever makes it.
func (s Store) Open(ctx context.Context, shape vmm.Shape) (*Template, error) {
	if err := shape.Validate(); err != nil {
		return nil, err
	}
	base, err := qemu.Prepare(ctx, s.roots(), s.Image)
	if err != nil {
		return nil, err
	}
	made, err := madeFor(base)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.templates(), made+"-"+key(shape))
	t := &Template{shape: shape, root: base.At(filepath.Join(dir, "root")), state: filepath.Join(dir, "state")}
	if t.complete() {
		return t, nil
	}
	unlock, err := filelock.Lock(ctx, filepath.Join(s.Dir, "templates.lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if t.complete() {
		return t, nil
	}
	err = s.sweep(base, made)
	if err == nil {
		err = s.make(ctx, base, shape, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("make a virtual machine's template: %w", err)
	}
	return t, nil
}

func (s Store) roots() string     { return filepath.Join(s.Dir, "roots") }
func (s Store) templates() string { return filepath.Join(s.Dir, "templates") }

// madeFor names what all templates of a root depend on: its files and this boot.
func madeFor(base qemu.Root) (string, error) {
	boot, err := vmm.Boot()
	return base.Key + "-" + boot, err
}

// key names what else a template depends on.
func key(shape vmm.Shape) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", qemu.Pattern(shape)))
	return hex.EncodeToString(sum[:8])
}

func (t *Template) complete() bool {
	_, err := os.Stat(t.state)
	return err == nil
}

// Clone starts a copy. Its agent is idle and awaits the host. config.Shape is
// the template's own.
func (t *Template) Clone(ctx context.Context, config vmm.Config) (vmm.Machine, error) {
	state, err := os.Open(t.state)
	if err != nil {
		return nil, fmt.Errorf("open a virtual machine's template: %w", err)
	}
	defer state.Close()
	config.Shape = t.shape
	m, err := qemu.Copy(ctx, t.root, state, config)
	if err != nil {
		return nil, err
	}
	if err := m.Resume(ctx); err != nil {
		m.Kill()
		return nil, err
	}
	return m, nil
}
