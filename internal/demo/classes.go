package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/client-go/kubernetes"

	"redoubt.dev/redoubt/internal/sandbox"
)

// class is one that the node offers.
type class struct {
	sandbox.Class
	// kernel is the release that a pod of the class sees; known after the
	// first act.
	kernel string
}

// offered lists the classes to show: all that there are, or only that named.
func offered(ctx context.Context, cluster kubernetes.Interface, only string) ([]class, error) {
	all, err := sandbox.Offered(ctx, cluster)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("no node offers a sandbox class; see: redoubt status, redoubt logs node")
	}
	if only != "" {
		i := slices.IndexFunc(all, func(c sandbox.Class) bool { return c.Name == only })
		if i < 0 {
			return nil, fmt.Errorf("--class %q: no node offers it; these are offered: %s", only, strings.Join(sandbox.Names(all), ", "))
		}
		all = all[i : i+1]
	}
	classes := make([]class, len(all))
	for i, c := range all {
		classes[i] = class{Class: c}
	}
	return classes, nil
}
