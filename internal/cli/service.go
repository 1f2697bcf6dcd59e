package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func newService(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "service",
		Aliases: []string{"ksvc", "services"},
		Short:   "Run and look after services that scale to zero",
	}
	cmd.AddCommand(
		newServiceCreate(a),
		newServiceUpdate(a),
		newServiceApply(a),
		newServiceList(a),
		newServiceDescribe(a),
		newServiceDelete(a),
		newServiceWait(a),
		newServiceLogs(a),
		newServiceInvoke(a),
	)
	return cmd
}

// oneName refuses anything but one name, in the words of the command.
func oneName(kind string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(fmt.Errorf("'%s' needs the name of one %s", calledAs(cmd), kind))
		}
		return nil
	}
}

// complete completes the names of the objects that list reads.
func complete(f *clusterFlags, list func() client.ObjectList) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := f.connect(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		all := list()
		if err := c.List(cmd.Context(), all, client.InNamespace(c.namespace)); err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names, err := namesOf(all)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func services() client.ObjectList { return &serving.ServiceList{} }

func newServiceDelete(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	w := &waitFlags{}
	var all bool
	cmd := &cobra.Command{
		Use:   "delete NAME...",
		Short: "Delete services with their revisions and instances",
		RunE: func(cmd *cobra.Command, names []string) error {
			if all == (len(names) > 0) {
				return usage(errors.New("'service delete' needs either names or --all"))
			}
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			if all {
				list := services()
				if err := c.List(cmd.Context(), list, client.InNamespace(c.namespace)); err != nil {
					return err
				}
				if names, err = namesOf(list); err != nil {
					return err
				}
			}
			return each(names, func(name string) error {
				if err := w.remove(cmd.Context(), c, &serving.Service{}, name); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "Service '%s' successfully deleted in namespace '%s'.\n", name, c.namespace)
				return nil
			})
		},
		ValidArgsFunction: complete(f, services),
	}
	f.register(cmd, false)
	w.register(cmd, false)
	cmd.Flags().BoolVar(&all, "all", false, "delete all services of the namespace")
	return cmd
}

func newServiceWait(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	w := &waitFlags{}
	cmd := &cobra.Command{
		Use:   "wait NAME",
		Short: "Wait until a service is ready",
		Args:  oneName("service"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			var svc serving.Service
			if err := c.Get(cmd.Context(), c.key(args[0]), &svc); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Waiting for service '%s' in namespace '%s':\n\n", svc.Name, c.namespace)
			if _, err := w.ready(cmd, c, &svc); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Service '%s' in namespace '%s' is ready.\n", svc.Name, c.namespace)
			return nil
		},
		ValidArgsFunction: complete(f, services),
	}
	f.register(cmd, false)
	w.registerLimits(cmd)
	return cmd
}
