// Package instance names everything that belongs to one Redoubt instance on a
// machine: its folders, sockets, network namespace, cgroup and firewall table.
// Two instances with different names share none of them.
//
// An Instance is a value; making one touches nothing on the machine.
package instance

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// DefaultName is the instance that commands mean when --name is not given.
const DefaultName = "local"

const (
	dataRoot = "/var/lib/redoubt"
	runRoot  = "/run/redoubt"
)

// validName keeps a name usable as DNS label, cgroup and link name alike: 32
// characters leave room for the prefixes below.
var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$`)

// Instance is one platform: a Kubernetes control plane, its node and Redoubt's
// own roles.
type Instance struct {
	// Name is a DNS label of at most 32 characters, unique on the machine.
	Name string
	// DataDir is absolute, has no symbolic links, and holds what survives a reboot: certificates,
	// etcd, images, logs.
	DataDir string
}

// New returns the instance of that name. An empty name means DefaultName, an
// empty data folder /var/lib/redoubt/<name>.
func New(name, dataDir string) (Instance, error) {
	if name == "" {
		name = DefaultName
	}
	if !validName.MatchString(name) {
		return Instance{}, fmt.Errorf("--name %q is not a name for an instance: use at most 32 lower-case letters, digits and inner hyphens", name)
	}
	if dataDir == "" {
		return Instance{Name: name, DataDir: DefaultDataDir(name)}, nil
	}
	abs, err := filepath.Abs(dataDir)
	if err != nil {
		return Instance{}, fmt.Errorf("--data-dir %q: %w", dataDir, err)
	}
	return Instance{Name: name, DataDir: followLinks(abs)}, nil
}

// DefaultDataDir is where the instance of that name keeps its data unless told
// otherwise.
func DefaultDataDir(name string) string { return followLinks(filepath.Join(dataRoot, name)) }

// followLinks is the path without symbolic links, as the kernel lists mounts.
// Of what does not exist yet there are none.
func followLinks(path string) string {
	dir, rest := path, ""
	for {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == filepath.Dir(dir) {
			return path
		}
		dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest)
	}
}

// ID names the instance's network namespace, cgroup and nft table.
func (i Instance) ID() string { return "redoubt-" + i.Name }

// NodeName is the name of the instance's Kubernetes node.
func (i Instance) NodeName() string { return i.ID() }

// Data is a path inside the data folder.
func (i Instance) Data(elem ...string) string {
	return filepath.Join(append([]string{i.DataDir}, elem...)...)
}

// RunDir holds sockets and process ids; it is empty after a reboot. It does
// not follow DataDir: a socket's path may be at most 107 bytes long.
func (i Instance) RunDir() string { return filepath.Join(runRoot, i.Name) }

// Run is a path inside the run folder.
func (i Instance) Run(elem ...string) string {
	return filepath.Join(append([]string{i.RunDir()}, elem...)...)
}

// SysctlFile remembers what the machine's kernel settings were before its
// first instance; all instances share it.
func SysctlFile() string { return filepath.Join(runRoot, "sysctls.json") }

// MachineLock is held by whoever changes what all instances share.
func MachineLock() string { return runRoot + ".lock" }

// Kubeconfig is the administrator's kubeconfig, for use from the host.
func (i Instance) Kubeconfig() string { return i.Data("kubeconfig") }

// ContainerdSocket is where the instance's containerd serves its API and the
// CRI.
func (i Instance) ContainerdSocket() string { return i.Run("containerd.sock") }

// NetNS is the path of the instance's network namespace, which iproute2 knows
// by the instance's ID.
func (i Instance) NetNS() string { return i.Run("netns") }

// LogDir holds one rotated log per component.
func (i Instance) LogDir() string { return i.Data("logs") }

// AuditLog is what the API server writes down of requests; those that it
// followed are beside it.
func (i Instance) AuditLog() string { return i.Data("audit", "audit.log") }

// EngineDir is the folder of the upstream programs: $REDOUBT_ENGINE_DIR, or
// "engine" beside the running executable.
func EngineDir() (string, error) {
	if dir := os.Getenv("REDOUBT_ENGINE_DIR"); dir != "" {
		return dir, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the engine: %w", err)
	}
	exe, err = filepath.EvalSymlinks(exe)
	if err != nil {
		return "", fmt.Errorf("find the engine: %w", err)
	}
	return filepath.Join(filepath.Dir(exe), "engine"), nil
}
