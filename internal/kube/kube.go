// Package kube opens connections to a Kubernetes API server from a kubeconfig
// file, and follows what the server has, the same way for every command and
// role.
package kube

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Config loads a kubeconfig file; an empty path means the configuration that
// a pod finds in itself. The client-side rate limit is off: the API server's
// own priority and fairness is the one that counts.
func Config(path, userAgent string) (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig %q: %w", path, err)
	}
	cfg.UserAgent = userAgent
	cfg.QPS = -1
	return cfg, nil
}
