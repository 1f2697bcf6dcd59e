package kube

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

// What a policy refuses is tried again as well: others change what it goes by.
func TestPauseAfter(t *testing.T) {
	full := fmt.Errorf("make pod: %w", apierrors.NewForbidden(corev1.Resource("pods"), "web", errors.New("exceeded quota")))
	closed := fmt.Errorf("keep service: %w", apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "web", nil))
	if forbidden, invalid := PauseAfter(full), PauseAfter(closed); forbidden != RefusedPause || invalid <= forbidden {
		t.Errorf("forbidden: %v, invalid: %v", forbidden, invalid)
	}
	if pause := PauseAfter(errors.New("no route to host")) + PauseAfter(nil); pause != 0 {
		t.Errorf("no refusal: %v", pause)
	}
}
