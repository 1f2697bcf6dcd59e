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
	return errors.Join(f.applyEnv(c), f.applyEnvFrom(c))
}

func (f *serviceFlags) applyEnv(c *serving.Container) error {
	for _, change := range f.env {
		name, value, isSet := strings.Cut(change, "=")
		if removed, ok := strings.CutSuffix(change, "-"); ok && !isSet {
			c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == removed })
			continue
		}
		if !isSet || name == "" {
			return usage(fmt.Errorf("--env %q is neither NAME=VALUE nor NAME-", change))
		}
		at := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
		if at < 0 {
			c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
			continue
		}
		c.Env[at] = corev1.EnvVar{Name: name, Value: value}
	}
	return nil
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
