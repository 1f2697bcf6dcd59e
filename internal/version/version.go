// Package version says which versions Redoubt and the upstream programs that
// it runs are of. What it says of a program is read from the program itself.
package version

import (
	"debug/buildinfo"
	"fmt"
	"path/filepath"
)

// Redoubt is stamped when a release is built.
var Redoubt = "v0.1.0-dev"

// Program is one upstream program and the Go module that it comes from.
type Program struct{ Name, Module string }

const kubernetes = "k8s.io/kubernetes"

// Programs are those that Redoubt runs.
var Programs = []Program{
	{"kube-apiserver", kubernetes},
	{"kube-controller-manager", kubernetes},
	{"kube-scheduler", kubernetes},
	{"kube-proxy", kubernetes},
	{"kubelet", kubernetes},
	{"kubectl", kubernetes},
	{"metrics-server", "sigs.k8s.io/metrics-server"},
	{"etcd", "go.etcd.io/etcd/server/v3"},
	{"containerd", "github.com/containerd/containerd/v2"},
	{"runc", "github.com/opencontainers/runc"},
	{"runsc", "gvisor.dev/gvisor"},
	{"coredns", "github.com/coredns/coredns"},
}

// Of is the version of the program called name in the engine's folder dir;
// any other name is a part of Redoubt.
func Of(dir, name string) (string, error) {
	for _, p := range Programs {
		if p.Name == name {
			return p.in(dir)
		}
	}
	return Redoubt, nil
}

// in reads the version that the go command recorded when it built p.
func (p Program) in(dir string) (string, error) {
	info, err := buildinfo.ReadFile(filepath.Join(dir, p.Name))
	if err != nil {
		return "", fmt.Errorf("read version of %s (is the engine built?): %w", p.Name, err)
	}
	if info.Main.Path == p.Module {
		return info.Main.Version, nil
	}
	for _, dep := range info.Deps {
		if dep.Path == p.Module {
			return dep.Version, nil
		}
	}
	return "", fmt.Errorf("read version of %s: it was not built from %s", p.Name, p.Module)
}
