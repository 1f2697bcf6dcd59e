package cli

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestChangeEnv(t *testing.T) {
	env := []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}, {Name: "C", Value: "3"}}
	if err := changeEnv([]string{"A=x=y", "B-", "D=", "E-", "F=-"}, &env); err != nil {
		t.Fatal(err)
	}
	want := []corev1.EnvVar{{Name: "A", Value: "x=y"}, {Name: "C", Value: "3"}, {Name: "D"}, {Name: "F", Value: "-"}}
	if !slices.Equal(env, want) {
		t.Errorf("env = %v, want %v", env, want)
	}
	for _, text := range []string{"", "-", "=", "=x", "A"} {
		if err := changeEnv([]string{text}, &env); err == nil {
			t.Errorf("%q was taken for a change", text)
		}
	}
}
