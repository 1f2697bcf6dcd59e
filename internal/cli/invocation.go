package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

func newInvocation(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "invocation",
		Aliases: []string{"invocations"},
		Short:   "Look at calls of functions that nobody waits for",
		Long: `Look at calls of functions that nobody waits for. They are made with:
redoubt function call NAME --async. Answers are kept for an hour, calls that
failed for a day, with what the function was called with.`,
	}
	cmd.AddCommand(
		newInvocationResult(a),
		newList(a, lister{use: "list [NAME]", short: "List invocations", kind: "invocation", list: invocations, table: tableOfInvocations}),
		newInvocationDelete(a),
	)
	return cmd
}

func invocations() client.ObjectList { return &redoubt.InvocationList{} }

func tableOfInvocations(_ *cobra.Command, c *connection, list client.ObjectList, wide bool) (table, error) {
	t := table{columns: c.column("NAME", "FUNCTION", "PHASE", "ATTEMPTS", "CODE", "REASON", "AGE")}
	if wide {
		t.columns = append(t.columns, "ERROR")
	}
	for _, i := range list.(*redoubt.InvocationList).Items {
		s := &i.Status
		row := c.row(i.Namespace, i.Name, i.Spec.Function, orElse(string(s.Phase), string(redoubt.InvocationPending)),
			fmt.Sprint(s.Attempts), fmt.Sprint(s.Code), s.Reason, age(i.CreationTimestamp))
		if wide {
			row = append(row, oneLine(s.Error))
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

// invoke stores a call and prints its name.
func (c *connection) invoke(cmd *cobra.Command, function string, r *requestFlags) error {
	for _, flag := range []string{"method", "path", "timeout"} {
		if cmd.Flags().Changed(flag) {
			return usage(fmt.Errorf("--%s: a call that nobody waits for is an event alone: leave it out", flag))
		}
	}
	data, err := r.content(cmd, redoubt.MaxInvocationData+1)
	if err != nil {
		return err
	}
	if len(data) > redoubt.MaxInvocationData {
		return usage(fmt.Errorf("--data has more than the %d bytes that a call may have that nobody waits for; put them where the function can fetch them", redoubt.MaxInvocationData))
	}
	i := &redoubt.Invocation{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, GenerateName: function + "-"}, Spec: redoubt.InvocationSpec{Function: function, Data: data}}
	for _, header := range withDefaults(r.headers, eventHeaders(data)[:1]) {
		name, value, _ := strings.Cut(header, ":")
		if !strings.EqualFold(strings.TrimSpace(name), "Content-Type") {
			return usage(fmt.Errorf("--header %q: a call that nobody waits for takes Content-Type alone", header))
		}
		i.Spec.ContentType = strings.TrimSpace(value)
	}
	if err := c.Create(cmd.Context(), i, fieldOwner); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "See what becomes of it with: redoubt invocation result %s --wait\n", i.Name)
	fmt.Fprintln(cmd.OutOrStdout(), i.Name)
	return nil
}

func newInvocationResult(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	var wait bool
	cmd := &cobra.Command{
		Use:   "result NAME",
		Short: "Print what a function answered",
		Args:  oneName("invocation"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			i, err := c.result(cmd, args[0], wait)
			if err != nil {
				return err
			}
			if _, err := cmd.OutOrStdout().Write(i.Status.Answer); err != nil {
				return err
			}
			return resultError(i)
		},
		ValidArgsFunction: complete(f, invocations),
	}
	f.register(cmd, false)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until there is a result")
	return cmd
}

// result gets an invocation, and waits for its end if that is wanted.
func (c *connection) result(cmd *cobra.Command, name string, wait bool) (*redoubt.Invocation, error) {
	const interval = 200 * time.Millisecond
	for {
		i := &redoubt.Invocation{}
		err := c.Get(cmd.Context(), c.key(name), i)
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("there is no invocation '%s' in namespace '%s': its time is over, or it never was; see: redoubt invocation list -A", name, c.namespace)
		}
		if err != nil || i.Status.Finished() || !wait {
			return i, err
		}
		select {
		case <-cmd.Context().Done():
			return nil, errors.New("interrupted; the call goes on")
		case <-time.After(interval):
		}
	}
}

// resultError says why there is no answer.
func resultError(i *redoubt.Invocation) error {
	s := &i.Status
	switch {
	case s.Phase == redoubt.InvocationSucceeded:
		return nil
	case s.Phase == redoubt.InvocationFailed:
		return fmt.Errorf("invocation '%s' failed after %d attempts: %s: %s", i.Name, s.Attempts, s.Reason, s.Error)
	case s.Error != "":
		return fmt.Errorf("invocation '%s' is not finished, its last attempt (%d) failed: %s; wait for it with --wait", i.Name, s.Attempts, s.Error)
	}
	return fmt.Errorf("invocation '%s' is not finished; wait for it with --wait", i.Name)
}

func newInvocationDelete(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	w := &waitFlags{}
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete an invocation; an attempt that is under way goes on",
		Args:  oneName("invocation"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			if err := w.remove(cmd.Context(), c, &redoubt.Invocation{}, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Invocation '%s' deleted in namespace '%s'.\n", args[0], c.namespace)
			return nil
		},
		ValidArgsFunction: complete(f, invocations),
	}
	f.register(cmd, false)
	w.register(cmd, false)
	return cmd
}
