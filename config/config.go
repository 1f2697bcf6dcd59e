// Package config holds what Redoubt adds to a Kubernetes cluster, the same for
// every cluster: resource definitions, the rights of its roles, runtime
// classes and admission policies.
package config

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed */*.yaml
var files embed.FS

// order puts definitions before the objects that need them.
var order = []string{"namespace", "crd", "rbac", "runtimeclass", "policy"}

// Documents are the YAML files, in the order to apply them.
func Documents() ([][]byte, error) {
	var docs [][]byte
	for _, dir := range order {
		names, err := fs.Glob(files, dir+"/*.yaml")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			data, err := files.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("read configuration: %w", err)
			}
			docs = append(docs, data)
		}
	}
	return docs, nil
}
