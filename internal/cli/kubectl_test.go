package cli

import (
	"slices"
	"testing"
)

func TestVariableReplacesTheUsersOwn(t *testing.T) {
	env := []string{"KUBECONFIG=/home/user/production", "KUBECONFIGS=kept", "HOME=/root"}
	want := []string{"KUBECONFIGS=kept", "HOME=/root", "KUBECONFIG=/var/lib/redoubt/local/kubeconfig"}
	if got := withVariable(env, "KUBECONFIG", "/var/lib/redoubt/local/kubeconfig"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
