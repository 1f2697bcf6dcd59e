package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
)

func newTrigger(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "trigger",
		Aliases: []string{"triggers"},
		Short:   "Call functions for what happens",
		Long: `Call functions for what happens. The commands and flags are Kubeless's. A
function that is frozen or has no instance is woken by its trigger.`,
	}
	cmd.AddCommand(newHTTPTrigger(a), newCronTrigger(a), newNATSTrigger(a), newUnservedTrigger("kafka", "topic"), newUnservedTrigger("kinesis", "stream"))
	return cmd
}

// newUnservedTrigger is one of Kubeless's commands for what is not served.
func newUnservedTrigger(word, source string) *cobra.Command {
	return &cobra.Command{
		Use:                word,
		Short:              "Not served: says what there is instead",
		DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return usage(fmt.Errorf("triggers of %s are not served; let a bridge put the %s into JetStream, and use: redoubt trigger nats create", word, source))
		},
	}
}

// triggerKind is a kind of triggers and how the command line calls it.
type triggerKind struct {
	// word is the command's, kind the object's.
	word, kind string
	one        func() client.Object
	list       func() client.ObjectList
}

// triggerWriter is what create and update of all kinds have in common. Only
// flags that were given change anything.
type triggerWriter struct {
	clusterFlags
	triggerKind
	print  printFlags
	dryRun bool
	set    *pflag.FlagSet
}

func (w *triggerWriter) register(cmd *cobra.Command) {
	w.clusterFlags.register(cmd, false)
	w.print.register(cmd)
	w.set = cmd.Flags()
	w.set.BoolVar(&w.dryRun, "dryrun", false, "print the trigger, as YAML unless -o says otherwise, and change nothing")
}

// need refuses a command that lacks one of the flags that a new trigger needs.
func (w *triggerWriter) need(example string, flags ...string) error {
	for _, name := range flags {
		if !w.set.Changed(name) {
			return usage(fmt.Errorf("a trigger needs --%s, as in: redoubt trigger %s create %s", strings.Join(flags, " and --"), w.word, example))
		}
	}
	return nil
}

// create stores a trigger, after check has found what it names.
func (w *triggerWriter) create(cmd *cobra.Command, t client.Object, check func(*connection) error) error {
	if w.dryRun {
		t.SetNamespace(w.namespace)
		return w.show(cmd, t)
	}
	c, err := w.connect(cmd)
	if err != nil {
		return err
	}
	t.SetNamespace(c.namespace)
	if err := check(c); err != nil {
		return err
	}
	err = c.Create(cmd.Context(), t, fieldOwner)
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("trigger '%s' exists in namespace '%s'; change it with: redoubt trigger %s update %s", t.GetName(), c.namespace, w.word, t.GetName())
	}
	return w.finish(cmd, t, "created", err)
}

// update changes a trigger as apply does.
func (w *triggerWriter) update(cmd *cobra.Command, name string, t client.Object, apply func(*connection) error) error {
	c, err := w.connect(cmd)
	if err != nil {
		return err
	}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		err := c.Get(cmd.Context(), c.key(name), t)
		if apierrors.IsNotFound(err) {
			return fmt.Errorf("there is no trigger '%s' in namespace '%s'; see: redoubt trigger %s list -A", name, c.namespace, w.word)
		}
		if err := errors.Join(err, apply(c)); err != nil || w.dryRun {
			return err
		}
		return c.Update(cmd.Context(), t, fieldOwner)
	})
	if err == nil && w.dryRun {
		return w.show(cmd, t)
	}
	return w.finish(cmd, t, "updated", err)
}

// show prints what would be stored, in a form that can be applied.
func (w *triggerWriter) show(cmd *cobra.Command, t client.Object) error {
	t.GetObjectKind().SetGroupVersionKind(kubeless.GroupVersion.WithKind(w.kind))
	t.SetManagedFields(nil)
	if w.print.format == "table" {
		w.print.format = "yaml"
	}
	return w.print.print(cmd.OutOrStdout(), t, func() table {
		return table{names: []string{qualified(strings.ToLower(w.kind), t.GetName())}}
	})
}

func (w *triggerWriter) finish(cmd *cobra.Command, t client.Object, done string, err error) error {
	if err != nil {
		return err
	}
	if w.print.format != "table" {
		return w.show(cmd, t)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Trigger '%s' %s in namespace '%s'.\n", t.GetName(), done, t.GetNamespace())
	return nil
}

func newTriggerDelete(a *app, k triggerKind) *cobra.Command {
	f := &clusterFlags{app: a}
	w := &waitFlags{}
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a trigger; its function stays",
		Args:  oneName("trigger"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			if err := w.remove(cmd.Context(), c, k.one(), args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Trigger '%s' deleted in namespace '%s'.\n", args[0], c.namespace)
			return nil
		},
		ValidArgsFunction: complete(f, k.list),
	}
	f.register(cmd, false)
	w.register(cmd, false)
	return cmd
}
