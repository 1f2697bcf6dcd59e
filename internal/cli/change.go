package cli

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// parseChange reads what a flag says of one entry: NAME=VALUE sets it, NAME-
// removes it, as in kubectl and kn.
func parseChange(flag, text string) (name, value string, remove bool, err error) {
	name, value, isSet := strings.Cut(text, "=")
	if !isSet {
		name, remove = strings.CutSuffix(text, "-")
	}
	if name == "" || !isSet && !remove {
		return "", "", false, usage(fmt.Errorf("%s %q is neither NAME=VALUE nor NAME-", flag, text))
	}
	return name, value, remove, nil
}

// change sets and removes entries of a map.
func change(flag string, changes []string, values *map[string]string) error {
	for _, text := range changes {
		name, value, remove, err := parseChange(flag, text)
		switch {
		case err != nil:
			return err
		case remove:
			delete(*values, name)
			continue
		case *values == nil:
			*values = map[string]string{}
		}
		(*values)[name] = value
	}
	return nil
}

// changeEnv sets and removes environment variables; one that is set again
// keeps its place, because later ones may refer to it.
func changeEnv(changes []string, env *[]corev1.EnvVar) error {
	for _, text := range changes {
		name, value, remove, err := parseChange("--env", text)
		if err != nil {
			return err
		}
		named := func(e corev1.EnvVar) bool { return e.Name == name }
		at := slices.IndexFunc(*env, named)
		switch {
		case remove:
			*env = slices.DeleteFunc(*env, named)
		case at < 0:
			*env = append(*env, corev1.EnvVar{Name: name, Value: value})
		default:
			(*env)[at] = corev1.EnvVar{Name: name, Value: value}
		}
	}
	return nil
}
