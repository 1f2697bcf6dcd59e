// Package platform boots the instance that benchmarks measure, under a name of
// its own, and ends it with all of its data.
package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"

	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/internal/instance"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/sandbox"
)

// name of the instance; one that runs under it is ended first.
const name = "bench"

// Platform is the instance. Boot fills in State and Cluster.
type Platform struct {
	Inst    instance.Instance
	State   instance.State
	Cluster kubernetes.Interface
	program string
}

// New makes nothing yet; it finds the program, which must have been built.
func New() (*Platform, error) {
	inst, err := instance.New(name, "")
	if err != nil {
		return nil, err
	}
	program, err := filepath.Abs("bin/redoubt")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%s is missing; build it with: make engine build, and run the benchmarks in the repository's folder", program)
	}
	// The engine is the one beside the program, not beside this one.
	if err := os.Setenv("REDOUBT_ENGINE_DIR", filepath.Join(filepath.Dir(program), "engine")); err != nil {
		return nil, err
	}
	return &Platform{Inst: inst, program: program}, nil
}

// Boot boots the instance and returns how long that took.
func (p *Platform) Boot(ctx context.Context) (time.Duration, error) {
	started := time.Now()
	if err := p.Run(ctx, "up", "--http-port=0", "--api-port=0", "--measure=false", "--detach"); err != nil {
		return 0, err
	}
	took := time.Since(started)
	var err error
	if p.State, err = p.Inst.LoadState(); err != nil {
		return 0, err
	}
	cfg, err := kube.Config(p.Inst.Kubeconfig(), "redoubt-bench")
	if err != nil {
		return 0, err
	}
	p.Cluster, err = kubernetes.NewForConfig(cfg)
	return took, err
}

// Down ends the instance and keeps its data.
func (p *Platform) Down(ctx context.Context) error { return p.Run(ctx, "down") }

// Purge ends the instance, whatever state it is in, and removes its data.
func (p *Platform) Purge(ctx context.Context) error {
	return p.Run(ctx, "down", "--purge", "--yes")
}

// Run runs `redoubt ARGS` on the instance.
func (p *Platform) Run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, p.program, append(args, "--name="+p.Inst.Name)...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("redoubt %s: %w\n%s", args[0], err, output.String())
	}
	return nil
}

// Process is the one of the instance's processes with that name.
func (p *Platform) Process(ctx context.Context, name string) (pid int, err error) {
	all, err := cluster.Processes(ctx, p.Inst)
	if err != nil {
		return 0, err
	}
	for _, one := range all {
		if one.Name == name {
			return one.PID, nil
		}
	}
	return 0, fmt.Errorf("the instance %s has no process %s", p.Inst.Name, name)
}

// Classes are the names of the sandbox classes that the node offers.
func (p *Platform) Classes(ctx context.Context) ([]string, error) {
	offered, err := sandbox.Offered(ctx, p.Cluster)
	if err != nil {
		return nil, err
	}
	if len(offered) == 0 {
		return nil, errors.New("the node offers no sandbox class; see: redoubt logs node --name bench")
	}
	return sandbox.Names(offered), nil
}
