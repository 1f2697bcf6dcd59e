package cli

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// What keeps an object from being ready is described with its message, on one
// line, and without what the container told the terminal.
func TestConditionsSayWhy(t *testing.T) {
	all := serving.Conditions{
		{Type: serving.Active, Status: corev1.ConditionFalse, Severity: "Info", Reason: "NoTraffic", Message: "not asked for"},
		{Type: serving.ContainerHealthy, Status: corev1.ConditionFalse, Reason: "ExitCode1", Message: "Container failed with: one\n\x1b[31mtwo"},
		{Type: serving.Ready, Status: corev1.ConditionUnknown, Message: "no reason"},
	}
	var out strings.Builder
	newDescription(&out).conditions(all, false)
	for _, want := range []string{"ExitCode1 (Container failed with: one [31mtwo)\n", " (no reason)\n", "NoTraffic\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	failed := all[1]
	failed.Type = serving.Ready
	if got, want := reasonColumn(serving.Conditions{failed}), "ExitCode1 : Container failed with: one [31mtwo"; got != want {
		t.Errorf("in a list: %q, want %q", got, want)
	}
}
