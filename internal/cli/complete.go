package cli

import (
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"redoubt.dev/redoubt/internal/instance"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/sandbox"
)

// completeInstances offers the instances that have been booted.
func completeInstances(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names, err := instance.Booted()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeClasses offers the classes that the instance's node offers, with
// their isolation.
func (a *app) completeClasses(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	const patience = 2 * time.Second
	inst, err := a.instance()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	cfg, err := kube.Config(inst.Kubeconfig(), "redoubt-completion")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	cfg.Timeout = patience
	cluster, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	classes, err := sandbox.Offered(cmd.Context(), cluster)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = c.Name + "\tisolation: " + string(c.Isolation)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
