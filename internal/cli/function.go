package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

func newFunction(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "function",
		Aliases: []string{"fn"},
		Short:   "Run functions from their source, each in the sandbox it names",
		Long: `Run functions from their source, each in the sandbox it names.

The commands and flags are Kubeless's. A function takes an event and a context
and returns the answer; it needs no image and no registry.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(
		newFunctionDeploy(a),
		newFunctionUpdate(a),
		newFunctionRollback(a),
		newFunctionPrepare(a),
		newFunctionList(a),
		newFunctionDescribe(a),
		newFunctionCall(a),
		newFunctionLogs(a),
		newFunctionTop(a),
		newFunctionRunLocal(),
		newFunctionDelete(a),
	)
	return cmd
}

func functions() client.ObjectList { return &kubeless.FunctionList{} }

// function gets one by name.
func (c *connection) function(cmd *cobra.Command, name string) (*kubeless.Function, error) {
	fn := &kubeless.Function{}
	err := c.Get(cmd.Context(), c.key(name), fn)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("there is no function '%s' in namespace '%s'; see: redoubt function list -A", name, c.namespace)
	}
	return fn, err
}

func newFunctionDelete(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	w := &waitFlags{}
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a function with its service and every version of its source",
		Args:  oneName("function"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			if _, err := c.function(cmd, args[0]); err != nil {
				return err
			}
			if err := w.remove(cmd.Context(), c, &kubeless.Function{}, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Function '%s' deleted in namespace '%s'.\n", args[0], c.namespace)
			return nil
		},
		ValidArgsFunction: complete(f, functions),
	}
	f.register(cmd, false)
	w.register(cmd, false)
	return cmd
}

func newFunctionLogs(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	l := &logFlags{}
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what a function has written, with a line for each call",
		Long: `Print what a function has written, with a line of JSON for each call. A function
at zero has no instance, and what earlier ones wrote went with them.`,
		Args: oneName("function"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			if _, err := c.function(cmd, args[0]); err != nil {
				return err
			}
			return l.print(cmd, c, client.MatchingLabels{serving.ServiceLabel: args[0]})
		},
		ValidArgsFunction: complete(f, functions),
	}
	f.register(cmd, false)
	l.register(cmd)
	return cmd
}
