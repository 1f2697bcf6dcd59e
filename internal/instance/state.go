package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
)

// ErrNotRunning says that nothing has been booted under the instance's name.
var ErrNotRunning = errors.New("not running")

// State is what a running instance tells other commands about itself. It is
// kept in the run folder and so does not outlive a reboot.
type State struct {
	// SupervisorPID is the process that runs the instance.
	SupervisorPID int `json:"supervisorPID"`
	// DataDir is where it keeps its data.
	DataDir string `json:"dataDir"`
	// HTTPPort and APIPort are what the host's loopback listens on.
	HTTPPort int `json:"httpPort"`
	APIPort  int `json:"apiPort"`
	// HostIP and NodeIP are the two ends of the link between the host and
	// the instance's network namespace.
	HostIP netip.Addr `json:"hostIP"`
	NodeIP netip.Addr `json:"nodeIP"`
	// PodRange and ServiceRange are the addresses of pods and services.
	PodRange     netip.Prefix `json:"podRange"`
	ServiceRange netip.Prefix `json:"serviceRange"`
	// Bare says that Kubernetes runs alone, without Redoubt's roles.
	Bare bool `json:"bare"`
	// Ready says that the boot is over.
	Ready bool `json:"ready"`
}

func (i Instance) stateFile() string { return i.Run("state.json") }

// SaveState makes s visible to other commands.
func (i Instance) SaveState(s State) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write instance state: %w", err)
	}
	tmp := i.stateFile() + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("write instance state: %w", err)
	}
	return os.Rename(tmp, i.stateFile())
}

// LoadState reads what the instance says of itself. The error is
// ErrNotRunning when there is no such instance.
func (i Instance) LoadState() (State, error) {
	data, err := os.ReadFile(i.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, fmt.Errorf("instance %q is %w; start it with: redoubt up --name %s", i.Name, ErrNotRunning, i.Name)
	}
	if err != nil {
		return State{}, fmt.Errorf("read instance state: %w", err)
	}
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return State{}, fmt.Errorf("read instance state %s: %w", i.stateFile(), err)
	}
	return s, nil
}

// Booted lists the instances that have been booted on this machine since it
// started.
func Booted() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(runRoot, "*", "state.json"))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(files))
	for n, file := range files {
		names[n] = filepath.Base(filepath.Dir(file))
	}
	return names, nil
}
