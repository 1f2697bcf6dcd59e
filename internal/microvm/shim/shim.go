// Package shim is how containerd starts, describes and cleans up after the
// shim: one process for each pod, which serves package task.
package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"redoubt.dev/redoubt/internal/microvm/cgroup"
	"redoubt.dev/redoubt/internal/microvm/layers"
	"redoubt.dev/redoubt/internal/microvm/pod"
	"redoubt.dev/redoubt/internal/microvm/spare"
)

// Name is the runtime's for containerd.
const Name = "io.containerd.redoubt.v2"

const (
	// podAnnotation is the CRI's: containers with the same value are one pod.
	podAnnotation = "io.kubernetes.cri.sandbox-id"
	// protocolVersion 3 lets containerd reach all of a pod's containers over
	// one connection, so that only the first starts a process.
	protocolVersion = 3
	pidFile         = "shim.pid"
	// killed is the exit code of what was killed with SIGKILL.
	killed = 137
)

// Manager implements shim.Shim.
type Manager struct{}

// Name is the runtime's.
func (Manager) Name() string { return Name }

// Start starts the pod's shim for its first container, or finds it. The
// working folder is the container's bundle.
func (Manager) Start(ctx context.Context, params *bootapi.BootstrapParams) (*bootapi.BootstrapResult, error) {
	group, err := podOf(params.GetInstanceID())
	if err != nil {
		return nil, err
	}
	dir := params.GetSocketDir()
	if dir == "" {
		dir = filepath.Join(defaults.DefaultStateDir, "s")
	}
	address, err := shim.CreateSocketAddress(ctx, dir, params.GetContainerdGrpcAddress(), group, false)
	if err != nil {
		return nil, fmt.Errorf("choose the shim's socket: %w", err)
	}
	result := &bootapi.BootstrapResult{Version: protocolVersion, Address: address, Protocol: "ttrpc"}
	if err := result.AddExtension(layers.Capabilities()); err != nil {
		return nil, err
	}
	if shim.CanConnect(address) {
		return result, nil
	}
	return result, launch(ctx, params, address)
}

// bundleSpec is what the start needs of a container's specification.
type bundleSpec struct {
	Annotations map[string]string `json:"annotations"`
	Linux       struct {
		CgroupsPath string `json:"cgroupsPath"`
	} `json:"linux"`
}

func readBundle(dir string) (bundleSpec, error) {
	var s bundleSpec
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil // a pod that is made without a container of its own
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read the container's specification: %w", err)
	}
	return s, nil
}

// podOf is the pod that the container of this bundle belongs to; one that
// belongs to none is a pod by itself.
func podOf(id string) (string, error) {
	s, err := readBundle(".")
	if err != nil {
		return "", err
	}
	if pod := s.Annotations[podAnnotation]; pod != "" {
		return pod, nil
	}
	return id, nil
}

// launch starts the serving process, which inherits the listening socket.
func launch(ctx context.Context, params *bootapi.BootstrapParams, address string) (err error) {
	// A socket that nobody answers is left from a shim that was killed.
	if err := shim.RemoveSocket(address); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket of an earlier shim: %w", err)
	}
	socket, err := shim.NewSocket(address)
	if err != nil {
		return fmt.Errorf("listen for containerd: %w", err)
	}
	// The shim goes on listening when this process is gone.
	socket.SetUnlinkOnClose(false)
	defer socket.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, shim.RemoveSocket(address))
		}
	}()
	file, err := socket.File()
	if err != nil {
		return fmt.Errorf("pass the socket on: %w", err)
	}
	defer file.Close()
	return serve(ctx, params, file)
}

// record lets containerd's command for a dead shim find the shim's process.
func record(pid int) error {
	// Where the kernel refuses, the shim may be killed for memory like any
	// other process, its machine with it.
	_ = shim.AdjustOOMScore(pid)
	if err := shim.WritePidFile(pidFile, pid); err != nil {
		return fmt.Errorf("record the shim's process: %w", err)
	}
	return nil
}

// serve lets a spare serve at the socket, if there is one for the pod, or else
// a new process.
func serve(ctx context.Context, params *bootapi.BootstrapParams, socket *os.File) error {
	cmd, err := command(ctx, params)
	if err != nil {
		return err
	}
	pods, err := readBundle(".")
	if err != nil {
		return err
	}
	if cmd.Dir, err = os.Getwd(); err != nil {
		return err
	}
	place := spare.Place{Containerd: params.GetContainerdGrpcAddress(), Memory: pod.BootMemory(&specs.Spec{Annotations: pods.Annotations})}
	if spare.Take(ctx, place, spare.Shim{Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir}, socket, record) {
		return nil
	}
	cmd.ExtraFiles = []*os.File{socket}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the shim: %w", err)
	}
	if err := record(cmd.Process.Pid); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	return cmd.Process.Release()
}

func command(ctx context.Context, params *bootapi.BootstrapParams) (*exec.Cmd, error) {
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the shim's own program: %w", err)
	}
	args := []string{"-namespace", namespace, "-address", params.GetContainerdGrpcAddress(), "-id", params.GetInstanceID()}
	if params.GetLogLevel() <= bootapi.LogLevel_LOG_LEVEL_DEBUG {
		args = append(args, "-debug")
	}
	cmd := exec.Command(self, args...)
	// Two threads are enough to wait for events, and save memory per pod.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, nil
}

// Stop cleans up after a shim that does not answer, or has never had the
// container. The machine ends with its shim.
func (Manager) Stop(ctx context.Context, id string) (shim.StopStatus, error) {
	status := shim.StopStatus{ExitStatus: killed, ExitedAt: time.Now()}
	dir, err := bundleOf(id)
	if err != nil {
		return status, err
	}
	status.Pid = endShim(dir)
	s, err := readBundle(dir)
	if err != nil {
		return status, err
	}
	if status.Pid == 0 {
		return status, nil // another container's shim, which goes on
	}
	group, err := cgroup.Parse(s.Linux.CgroupsPath)
	if err != nil {
		return status, nil // nothing has run in it
	}
	return status, group.Remove(ctx)
}

// bundleOf is the folder of a container beside this one's.
func bundleOf(id string) (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(wd), id), nil
}

// endShim kills the shim that was started for the bundle, if any was, and
// returns its process.
func endShim(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0
	}
	self, err := os.Readlink("/proc/self/exe")
	other, otherErr := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err == nil && otherErr == nil && self == other {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return pid
}

// Info describes the runtime.
func (Manager) Info(context.Context, io.Reader) (*types.RuntimeInfo, error) {
	able, err := typeurl.MarshalAnyToProto(&abilities)
	if err != nil {
		return nil, fmt.Errorf("describe the runtime: %w", err)
	}
	return &types.RuntimeInfo{
		Name:        Name,
		Features:    able,
		Annotations: map[string]string{layers.Annotation: layers.AnnotationValue},
	}, nil
}

// abilities are those that containerd asks for by name: without "rro" it
// refuses recursive read-only mounts, without the user namespace and mounts that
// show other owners it refuses pods that want users of their own.
var abilities = features.Features{
	OCIVersionMin: "1.0.0",
	OCIVersionMax: specs.Version,
	MountOptions:  []string{"bind", "nodev", "noexec", "nosuid", "private", "rbind", "ro", "rprivate", "rro", "rslave", "rw", "slave"},
	Linux: &features.Linux{
		Namespaces:      []string{string(specs.IPCNamespace), string(specs.MountNamespace), string(specs.NetworkNamespace), string(specs.PIDNamespace), string(specs.UserNamespace), string(specs.UTSNamespace)},
		MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: new(true)}},
	},
}
