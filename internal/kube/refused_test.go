package kube

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestUnnamed(t *testing.T) {
	full := errors.New("exceeded quota")
	long := strings.Repeat("x", 62) + "-"
	for title, tc := range map[string]struct {
		prefix, name, want string
	}{
		"made up": {"web-", "web-abcde", `pods "web-" is forbidden: exceeded quota`},
		"cut":     {long, long[:58] + "abcde", `pods "` + long + `" is forbidden: exceeded quota`},
		"its own": {"", "web-abcde", `pods "web-abcde" is forbidden: exceeded quota`},
		"other":   {"web-", "shop", `pods "shop" is forbidden: exceeded quota`},
	} {
		err := Unnamed(apierrors.NewForbidden(corev1.Resource("pods"), tc.name, full), tc.prefix)
		if err.Error() != tc.want || !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want %s", title, err, tc.want)
		}
	}
	if err := Unnamed(full, "web-"); err != full {
		t.Errorf("another error became %v", err)
	}
}
