package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/function"
	"redoubt.dev/redoubt/internal/image/store"
	"redoubt.dev/redoubt/internal/instance"
)

// functionWriter is what deploy and update have in common.
type functionWriter struct {
	clusterFlags
	functionFlags
	waitFlags
	print  printFlags
	dryRun bool
}

func (w *functionWriter) registerAll(cmd *cobra.Command) {
	w.clusterFlags.register(cmd, false)
	w.functionFlags.register(cmd)
	_ = cmd.RegisterFlagCompletionFunc("runtime-class", complete(&w.clusterFlags, runtimeClasses))
	w.waitFlags.register(cmd, true)
	w.print.register(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&w.dryRun, "dryrun", false, "print the Function, as YAML unless -o says otherwise, and change nothing")
	flags.BoolVar(&w.dryRun, "dry-run", false, "the same as --dryrun")
	_ = flags.MarkHidden("dry-run")
}

func newFunctionDeploy(a *app) *cobra.Command {
	w := &functionWriter{clusterFlags: clusterFlags{app: a}}
	cmd := &cobra.Command{
		Use:   "deploy NAME --runtime RUNTIME --handler FILE.FUNCTION --from-file FILE",
		Short: "Deploy a function from its source and wait until it is ready",
		Example: `  redoubt function deploy hello --runtime python3 --from-file test.py --handler test.hello --runtime-class gvisor
  redoubt function deploy hello -r nodejs -f hello.js --handler hello.greet --env LEVEL=debug --memory 128Mi`,
		Args: oneName("function"),
		RunE: func(cmd *cobra.Command, args []string) error {
			fn := &kubeless.Function{ObjectMeta: metav1.ObjectMeta{Name: args[0], Labels: kubelessLabels(args[0])}}
			if err := errors.Join(w.missing(), w.apply(cmd, fn)); err != nil {
				return err
			}
			if w.dryRun {
				return w.show(cmd, fn)
			}
			c, err := w.prepare(cmd, fn)
			if err != nil {
				return err
			}
			err = c.Create(cmd.Context(), fn, fieldOwner)
			if apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("function '%s' exists in namespace '%s'; change it with: redoubt function update %s", fn.Name, c.namespace, fn.Name)
			}
			if err != nil {
				return err
			}
			if err := w.keepSource(cmd, c, fn); err != nil {
				return err
			}
			return w.finish(cmd, c, fn, "deployed")
		},
	}
	w.registerAll(cmd)
	return cmd
}

func newFunctionUpdate(a *app) *cobra.Command {
	w := &functionWriter{clusterFlags: clusterFlags{app: a}}
	cmd := &cobra.Command{
		Use:     "update NAME",
		Short:   "Change a function as the flags say and wait until it is ready",
		Example: `  redoubt function update hello --from-file test.py`,
		Args:    oneName("function"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := w.check(); err != nil {
				return usage(err)
			}
			c, err := w.connect(cmd)
			if err != nil {
				return err
			}
			var fn *kubeless.Function
			err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
				if fn, err = c.function(cmd, args[0]); err != nil {
					return err
				}
				if err := w.apply(cmd, fn); err != nil || w.dryRun {
					return err
				}
				if _, err := w.prepare(cmd, fn); err != nil {
					return err
				}
				return c.Update(cmd.Context(), fn, fieldOwner)
			})
			if err != nil {
				return err
			}
			if w.dryRun {
				return w.show(cmd, fn)
			}
			if err := w.keepSource(cmd, c, fn); err != nil {
				return err
			}
			return w.finish(cmd, c, fn, "updated")
		},
		ValidArgsFunction: complete(&w.clusterFlags, functions),
	}
	w.registerAll(cmd)
	return cmd
}

// missing names the flags that a new function cannot do without.
func (w *functionWriter) missing() error {
	var names []string
	for _, name := range []string{"runtime", "handler", "from-file"} {
		if !w.set.Changed(name) {
			names = append(names, "--"+name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return usage(fmt.Errorf("a function needs %s as well, as in: redoubt function deploy hello --runtime python3 --from-file test.py --handler test.hello", strings.Join(names, ", ")))
}

// show prints what would be stored, in a form that can be applied.
func (w *functionWriter) show(cmd *cobra.Command, fn *kubeless.Function) error {
	fn.TypeMeta = metav1.TypeMeta{APIVersion: kubeless.GroupVersion.String(), Kind: "Function"}
	fn.ManagedFields = nil
	if w.archive != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "The source is above what a Function takes: deploying makes %d ConfigMaps of it, which are not shown.\n", len(kubeless.Parts(fn)))
	}
	if fn.Namespace == "" {
		fn.Namespace = w.namespace
	}
	if w.print.format == "table" {
		w.print.format = "yaml"
	}
	return w.print.print(cmd.OutOrStdout(), fn, func() table { return table{names: []string{qualified("function", fn.Name)}} })
}

// keepSource stores what fn's own object has no room for. Its build waits for it.
func (w *functionWriter) keepSource(cmd *cobra.Command, c *connection, fn *kubeless.Function) error {
	if !w.set.Changed("from-file") {
		return nil
	}
	return c.keepParts(cmd.Context(), fn, w.archive)
}

// prepare connects to the cluster and sees that it has what fn names: the
// class, and on this machine the image of the runtime.
func (w *functionWriter) prepare(cmd *cobra.Command, fn *kubeless.Function) (*connection, error) {
	c, err := w.connect(cmd)
	if err != nil {
		return nil, err
	}
	if fn.Namespace == "" {
		fn.Namespace = c.namespace
	}
	if err := c.checkClass(cmd.Context(), fn.Spec.RuntimeClassName); err != nil {
		return nil, err
	}
	return c, w.ensureImage(cmd, fn)
}

// checkClass refuses a sandbox class that the cluster does not have, and
// says which it has.
func (c *connection) checkClass(ctx context.Context, name *string) error {
	if name == nil {
		return nil
	}
	err := c.Get(ctx, c.key(*name), &nodev1.RuntimeClass{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	var classes nodev1.RuntimeClassList
	if err := c.List(ctx, &classes); err != nil {
		return err
	}
	names, err := namesOf(&classes)
	if err != nil {
		return err
	}
	return fmt.Errorf("--runtime-class: the cluster has no class %q; use one of: %s", *name, strings.Join(names, ", "))
}

// localNode is the container runtime of the instance on this machine whose
// cluster the flags name, if it is one.
func (f *clusterFlags) localNode(cmd *cobra.Command) (socket string, ok bool) {
	path, err := f.path(cmd)
	if err != nil {
		return "", false
	}
	path = cmp.Or(path, os.Getenv("KUBECONFIG"))
	names, err := instance.Booted()
	if err != nil {
		return "", false
	}
	for _, name := range names {
		inst := instance.Instance{Name: name}
		state, err := inst.LoadState()
		inst.DataDir = state.DataDir
		if err == nil && inst.Kubeconfig() == path {
			return inst.ContainerdSocket(), true
		}
	}
	return "", false
}

// ensureImage makes the runtime's image where the cluster is an instance on
// this machine. Elsewhere the nodes pull it.
func (w *functionWriter) ensureImage(cmd *cobra.Command, fn *kubeless.Function) error {
	socket, ok := w.localNode(cmd)
	if !ok || w.image != "" {
		return nil
	}
	images, err := store.Open(cmd.Context(), socket)
	if err != nil {
		return err
	}
	defer images.Close()
	builds, err := function.NeedsBuild(fn)
	if err != nil {
		return err
	}
	return ensureRuntime(cmd.Context(), images, fn.Spec.Runtime, builds, steps(cmd.ErrOrStderr()))
}

// finish waits for the function unless told not to, and says where it is.
func (w *functionWriter) finish(cmd *cobra.Command, c *connection, fn *kubeless.Function, done string) error {
	if w.wait {
		ready, err := w.functionReady(cmd, c, fn)
		if err != nil {
			return err
		}
		fn = ready
	}
	if w.print.format != "table" {
		value, err := c.withKind(fn)
		if err != nil {
			return err
		}
		return w.print.print(cmd.OutOrStdout(), value, func() table { return table{names: []string{qualified("function", fn.Name)}} })
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "Function '%s' %s in namespace '%s'.\n", fn.Name, done, fn.Namespace)
	if fn.Status.URL != "" {
		fmt.Fprintf(out, "It answers at %s, and to: redoubt function call %s\n", fn.Status.URL, fn.Name)
	}
	return nil
}

// kubelessLabels are those that Kubeless's command line gives a function, and
// that its users select functions by.
func kubelessLabels(name string) map[string]string {
	return map[string]string{"created-by": "kubeless", "function": name}
}
