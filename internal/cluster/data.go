package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"redoubt.dev/redoubt/internal/instance"
)

// ownerFile, in a data folder, has the name of the instance whose data it is.
const ownerFile = "instance"

// ownerIn is the instance that a data folder names as its owner, empty where it
// names none. Who may not read that may not boot or end an instance either.
func ownerIn(inst instance.Instance) string {
	data, _ := os.ReadFile(inst.Data(ownerFile))
	return strings.TrimSpace(string(data))
}

// ownerOf is the instance whose data the folder holds, empty where nobody says.
func ownerOf(inst instance.Instance) string {
	owner := ownerIn(inst)
	if owner != "" {
		return owner
	}
	// Of one that runs since an earlier version, which wrote no name, or whose
	// folder somebody has emptied, the state tells.
	booted, _ := instance.Booted()
	for _, name := range booted {
		state, err := instance.Instance{Name: name}.LoadState()
		if err != nil || !sameFolder(inst, state.DataDir) {
			continue
		}
		if name != inst.Name {
			return name
		}
		owner = name
	}
	return owner
}

// mustBeOurs refuses a data folder of another instance, which may run, and one
// that holds something else.
func mustBeOurs(inst instance.Instance) error {
	switch owner := ownerOf(inst); owner {
	case inst.Name:
		return nil
	case "":
		return mustHoldOurs(inst)
	default:
		return fmt.Errorf("%s holds the data of instance %q, not of %q; choose another data folder with --data-dir, or use: --name %s",
			inst.DataDir, owner, inst.Name, owner)
	}
}

// claim makes the data folder the instance's, whose lock is held. A folder that
// holds something else is left as it is.
func claim(inst instance.Instance) error {
	unlock, err := lockMachine()
	if err != nil {
		return err
	}
	defer unlock()
	if err := takeFolder(inst); err != nil {
		// Nothing is booted. What an earlier boot left has its run folder still.
		_, _ = os.Remove(inst.Run("lock")), os.Remove(inst.RunDir())
		return err
	}
	return nil
}

func takeFolder(inst instance.Instance) error {
	if err := mustBeOurs(inst); err != nil {
		return err
	}
	if ownerIn(inst) == inst.Name {
		return nil
	}
	if err := os.MkdirAll(inst.DataDir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w; choose another data folder with --data-dir", err)
	}
	if err := os.WriteFile(inst.Data(ownerFile), []byte(inst.Name+"\n"), 0o600); err != nil {
		return fmt.Errorf("write to the data folder: %w; choose another data folder with --data-dir", err)
	}
	return nil
}

// mustHoldOurs refuses a data folder that nobody owns unless it is empty, or
// evidently an instance's: by its place, or by what earlier versions, which
// wrote no name, made in it before anything else.
func mustHoldOurs(inst instance.Instance) error {
	if inst.DataDir == instance.DefaultDataDir(inst.Name) {
		return nil
	}
	entries, err := os.ReadDir(inst.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the data folder: %w; choose another data folder with --data-dir", err)
	}
	left := map[string]bool{"etcd": true, "logs": true, "registries": true}
	empty := true
	for _, e := range entries {
		delete(left, e.Name())
		// Registries may be set before the first boot.
		empty = empty && slices.Contains([]string{ownerFile, "registries", "lost+found"}, e.Name())
	}
	if empty || len(left) == 0 {
		return nil
	}
	return fmt.Errorf("%s is not empty, and what is in it is no instance's; choose another data folder with --data-dir", inst.DataDir)
}

// purge removes the data of an instance that is down. It refuses to cross a
// mount that somebody else made below the data folder. The owner's name goes
// last, so that what is left of a purge that was killed can be purged.
func purge(inst instance.Instance) error {
	if err := mustBeOurs(inst); err != nil {
		return fmt.Errorf("nothing was removed: %w", err)
	}
	if err := mustNotHoldMounts(inst.DataDir); err != nil {
		return err
	}
	entries, err := os.ReadDir(inst.DataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove data: %w", err)
	}
	for _, e := range entries {
		if e.Name() == ownerFile {
			continue
		}
		if err := os.RemoveAll(inst.Data(e.Name())); err != nil {
			return fmt.Errorf("remove data: %w", err)
		}
	}
	if err := os.RemoveAll(inst.DataDir); err != nil {
		return fmt.Errorf("remove data: %w", err)
	}
	return nil
}
