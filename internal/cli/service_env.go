package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func (f *serviceFlags) applyEnvironment(c *serving.Container) error {
	return errors.Join(changeEnv(f.env, &c.Env), f.applyEnvFrom(c))
}

func (f *serviceFlags) applyEnvFrom(c *serving.Container) error {
	for _, change := range f.envFrom {
		reference, remove := strings.CutSuffix(change, "-")
		source, err := envSource(reference)
		if err != nil {
			return err
		}
		c.EnvFrom = slices.DeleteFunc(c.EnvFrom, func(e corev1.EnvFromSource) bool { return sameSource(e, source) })
		if !remove {
			c.EnvFrom = append(c.EnvFrom, source)
		}
	}
	return nil
}

func envSource(reference string) (corev1.EnvFromSource, error) {
	kind, name, _ := strings.Cut(reference, ":")
	to := corev1.LocalObjectReference{Name: name}
	switch {
	case name == "":
	case kind == "cm" || kind == "config-map":
		return corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: to}}, nil
	case kind == "secret" || kind == "sc":
		return corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: to}}, nil
	}
	return corev1.EnvFromSource{}, usage(fmt.Errorf("--env-from %q is neither cm:NAME nor secret:NAME", reference))
}

func sameSource(a, b corev1.EnvFromSource) bool {
	if a.ConfigMapRef != nil && b.ConfigMapRef != nil {
		return a.ConfigMapRef.Name == b.ConfigMapRef.Name
	}
	return a.SecretRef != nil && b.SecretRef != nil && a.SecretRef.Name == b.SecretRef.Name
}
