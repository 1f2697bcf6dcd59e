package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What the CRI writes into a container's specification.
const (
	// podAnnotation names the pod: containers with the same value are one.
	podAnnotation = "io.kubernetes.cri.sandbox-id"
	// kindAnnotation tells a pod's sandbox from its containers.
	kindAnnotation = "io.kubernetes.cri.container-type"
)

// bundle is a container's specification and the folder that holds it.
type bundle struct {
	dir  string
	spec specs.Spec
}

func readBundle(dir string) (bundle, error) {
	b := bundle{dir: dir}
	data, err := os.ReadFile(b.path("config.json"))
	if err == nil {
		err = json.Unmarshal(data, &b.spec)
	}
	if err != nil {
		return bundle{}, fmt.Errorf("read the container's specification: %w", err)
	}
	return b, nil
}

func (b bundle) path(name string) string { return filepath.Join(b.dir, name) }

// save writes the specification back; runsc reads it from there.
func (b bundle) save() error {
	data, err := json.Marshal(b.spec)
	if err == nil {
		err = os.WriteFile(b.path("config.json"), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the container's specification: %w", err)
	}
	return nil
}

// pod is the pod that the container belongs to; a container outside any pod
// is one of its own.
func (b bundle) pod(id string) string {
	if pod := b.spec.Annotations[podAnnotation]; pod != "" {
		return pod
	}
	return id
}

func (b bundle) isSandbox() bool { return b.spec.Annotations[kindAnnotation] == "sandbox" }

// namespace is the container's namespace of that kind. One without a path is
// new for the container; none at all is the host's.
func (b bundle) namespace(kind specs.LinuxNamespaceType) (specs.LinuxNamespace, bool) {
	if b.spec.Linux == nil {
		return specs.LinuxNamespace{}, false
	}
	for _, n := range b.spec.Linux.Namespaces {
		if n.Type == kind {
			return n, true
		}
	}
	return specs.LinuxNamespace{}, false
}

// limits are what the container may use.
func (b bundle) limits() limits {
	if b.spec.Linux == nil {
		return limits{}
	}
	return limitsOf(b.spec.Linux.Resources)
}
