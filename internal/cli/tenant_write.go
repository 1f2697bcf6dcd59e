package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// tenantWriter is what create and update have in common. Only flags that were
// given change anything.
type tenantWriter struct {
	clusterFlags
	floor, defaultClass string
	emulated            bool
	classes, namespaces []string
	cpu, memory, pods   string
	storage             string
	services, functions string
	requests, starts    string
	callsTo, callsFrom  []string
	timeout             int // seconds
	set                 *pflag.FlagSet
}

func (w *tenantWriter) register(cmd *cobra.Command) {
	w.clusterFlags.register(cmd, false)
	flags := cmd.Flags()
	w.set = flags
	flags.StringVar(&w.floor, "floor", "kernel", "weakest isolation that the tenant's pods may have: process, kernel or vm")
	flags.BoolVar(&w.emulated, "allow-emulated-vm", false, "count a virtual machine without KVM as one with it")
	flags.StringVar(&w.defaultClass, "default", "", `class of pods that name none; "" makes them name one`)
	flags.StringSliceVar(&w.classes, "class", nil, `classes that the tenant may use, as far as they keep the floor; "" is all that do`)
	flags.StringVar(&w.cpu, "cpu", "", `processors that its pods may use at most together; "" is no bound`)
	flags.StringVar(&w.memory, "memory", "", `memory that its pods may use at most together, such as 16Gi; "" is no bound`)
	flags.StringVar(&w.storage, "ephemeral-storage", "", `disk that its pods may fill at most together, such as 50Gi; "" is no bound`)
	flags.StringVar(&w.pods, "pods", "", `pods that it may have at most; "" is no bound`)
	flags.StringVar(&w.services, "services", "", `services that it may have at most, those of functions among them; "" is 2000 in each namespace`)
	flags.StringVar(&w.functions, "functions", "", `functions that it may have at most; "" is 2000 in each namespace`)
	flags.StringVar(&w.requests, "requests-per-second", "", `requests that each gateway lets through to all of its services; "" is no bound`)
	flags.StringVar(&w.starts, "cold-starts", "", `services that requests to each gateway may start at a time; "" is no bound`)
	flags.StringSliceVar(&w.callsTo, "calls-to", nil, `tenants whose services its pods may call, where those allow it, too; "" is none`)
	flags.StringSliceVar(&w.callsFrom, "calls-from", nil, `tenants whose pods may call its services, where those allow it, too; "" is none`)
	flags.StringSliceVar(&w.namespaces, "namespaces", nil, "namespaces to give to the tenant, made where they are missing; NAME- takes one away")
	flags.IntVar(&w.timeout, "wait-timeout", 60, "seconds to wait until it is in force")
	_ = cmd.RegisterFlagCompletionFunc("floor", cobra.FixedCompletions([]string{"process", "kernel", "vm"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("default", w.app.completeClasses)
	_ = cmd.RegisterFlagCompletionFunc("class", w.app.completeClasses)
}

func newTenantCreate(a *app) *cobra.Command {
	w := &tenantWriter{clusterFlags: clusterFlags{app: a}}
	cmd := &cobra.Command{
		Use:     "create NAME",
		Short:   "Create a tenant and wait until it is in force",
		Example: `  redoubt tenant create acme --floor kernel --default gvisor --cpu 8 --memory 16Gi --pods 100 --namespaces acme,acme-test`,
		Args:    oneName("tenant"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := w.connect(cmd)
			if err != nil {
				return err
			}
			tenant := &redoubt.Tenant{ObjectMeta: metav1.ObjectMeta{Name: args[0]}, Spec: redoubt.TenantSpec{Floor: w.floor}}
			if err := w.apply(&tenant.Spec); err != nil {
				return err
			}
			if err := c.Create(cmd.Context(), tenant, fieldOwner); apierrors.IsAlreadyExists(err) {
				return fmt.Errorf("tenant '%s' exists; change it with 'tenant update'", tenant.Name)
			} else if err != nil {
				return err
			}
			return w.finish(cmd, c, tenant, "created")
		},
	}
	w.register(cmd)
	return cmd
}

func newTenantUpdate(a *app) *cobra.Command {
	w := &tenantWriter{clusterFlags: clusterFlags{app: a}}
	cmd := &cobra.Command{
		Use:   "update NAME",
		Short: "Change a tenant as the flags say and wait until it is in force",
		Long: `Change a tenant as the flags say and wait until it is in force. Pods that run
below a floor that is raised are stopped.`,
		Example: `  redoubt tenant update acme --floor vm --allow-emulated-vm --default microvm
  redoubt tenant update acme --namespaces acme-old-`,
		Args: oneName("tenant"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := w.connect(cmd)
			if err != nil {
				return err
			}
			tenant := &redoubt.Tenant{}
			err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
				if err := c.Get(cmd.Context(), client.ObjectKey{Name: args[0]}, tenant); err != nil {
					return err
				}
				if err := w.apply(&tenant.Spec); err != nil {
					return err
				}
				return c.Update(cmd.Context(), tenant, fieldOwner)
			})
			if err != nil {
				return err
			}
			return w.finish(cmd, c, tenant, "updated")
		},
		ValidArgsFunction: complete(&w.clusterFlags, tenants),
	}
	w.register(cmd)
	return cmd
}

// apply changes what the flags name.
func (w *tenantWriter) apply(spec *redoubt.TenantSpec) error {
	if w.set.Changed("floor") {
		spec.Floor = w.floor
	}
	if w.set.Changed("allow-emulated-vm") {
		spec.AllowEmulatedVM = w.emulated
	}
	if w.set.Changed("default") {
		spec.DefaultClass = w.defaultClass
	}
	w.list("class", w.classes, &spec.Classes)
	w.list("calls-to", w.callsTo, &spec.Calls.To)
	w.list("calls-from", w.callsFrom, &spec.Calls.From)
	return errors.Join(
		w.bound("cpu", w.cpu, &spec.Quota.CPU),
		w.bound("memory", w.memory, &spec.Quota.Memory),
		w.bound("ephemeral-storage", w.storage, &spec.Quota.EphemeralStorage),
		w.boundCount("pods", w.pods, &spec.Quota.Pods),
		w.boundCount("services", w.services, &spec.Quota.Services),
		w.boundCount("functions", w.functions, &spec.Quota.Functions),
		w.boundCount("requests-per-second", w.requests, &spec.Gateway.RequestsPerSecond),
		w.boundCount("cold-starts", w.starts, &spec.Gateway.ColdStarts))
}

// list is nil where the flag has no names, or an empty one.
func (w *tenantWriter) list(flag string, names []string, to *[]string) {
	if !w.set.Changed(flag) {
		return
	}
	*to = nil
	for _, name := range names {
		if name != "" {
			*to = append(*to, name)
		}
	}
}

func (w *tenantWriter) bound(flag, text string, to **resource.Quantity) error {
	if !w.set.Changed(flag) {
		return nil
	}
	*to = nil
	if text == "" {
		return nil
	}
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return usage(fmt.Errorf("--%s %q is no amount; write it like 8, 500m or 16Gi", flag, text))
	}
	*to = &q
	return nil
}

func (w *tenantWriter) boundCount(flag, text string, to **int64) error {
	if !w.set.Changed(flag) {
		return nil
	}
	*to = nil
	if text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return usage(fmt.Errorf("--%s %q is no number", flag, text))
	}
	*to = &n
	return nil
}

// finish hands over the namespaces and waits until all is in force.
func (w *tenantWriter) finish(cmd *cobra.Command, c *connection, tenant *redoubt.Tenant, done string) error {
	for _, name := range w.namespaces {
		if err := w.assign(cmd.Context(), c, tenant.Name, name); err != nil {
			return fmt.Errorf("tenant '%s' is %s, but the namespace '%s' is not its: %w", tenant.Name, done, strings.TrimSuffix(name, "-"), err)
		}
	}
	limit := time.Duration(w.timeout) * time.Second
	deadline := time.Now().Add(limit)
	if err := inForce(cmd.Context(), c, tenant, w.namespaces, limit); err != nil {
		return err
	}
	if err := counted(cmd.Context(), c, tenant, deadline); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Tenant '%s' %s: its floor is %s, open to it: %s.\n", tenant.Name, done, floorOf(&tenant.Spec),
		orElse(strings.Join(tenant.Status.OpenClasses, ", "), "no class"))
	if ready := readyOf(tenant); ready.Status != metav1.ConditionTrue {
		return errors.New(ready.Message)
	}
	return nil
}

// assign gives a namespace to the tenant; NAME- takes it away.
func (w *tenantWriter) assign(ctx context.Context, c *connection, tenant, name string) error {
	name, away := strings.CutSuffix(name, "-")
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	err := c.Get(ctx, client.ObjectKeyFromObject(ns), ns)
	if apierrors.IsNotFound(err) && !away {
		ns.Labels = map[string]string{redoubt.TenantLabel: tenant}
		return c.Create(ctx, ns, fieldOwner)
	}
	if err != nil {
		return err
	}
	if other := ns.Labels[redoubt.TenantLabel]; other != "" && other != tenant {
		return fmt.Errorf("it belongs to the tenant '%s'; take it away there first: redoubt tenant update %s --namespaces %s-", other, other, name)
	}
	before := ns.DeepCopy()
	if away {
		delete(ns.Labels, redoubt.TenantLabel)
	} else {
		// Every namespace has a label: its name.
		ns.Labels[redoubt.TenantLabel] = tenant
	}
	return c.Patch(ctx, ns, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), fieldOwner)
}

// inForce waits until the controller has done what the tenant needs, and the
// namespaces that it gets or, with a hyphen at the end, loses.
func inForce(ctx context.Context, c *connection, tenant *redoubt.Tenant, namespaces []string, limit time.Duration) error {
	wanted := func(name string) bool {
		name, away := strings.CutSuffix(name, "-")
		return slices.Contains(tenant.Status.Namespaces, name) != away
	}
	for deadline := time.Now().Add(limit); ; {
		if err := c.Get(ctx, client.ObjectKeyFromObject(tenant), tenant); err != nil {
			return err
		}
		late := slices.IndexFunc(namespaces, func(name string) bool { return !wanted(name) })
		if tenant.Status.ObservedGeneration == tenant.Generation && late < 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("tenant '%s' is not in force after %v: does the controller run? See: redoubt logs controller", tenant.Name, limit)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// counted waits until what the tenant's quotas bound is counted: the API server
// refuses what it knows no number of. On a cluster that has just got its
// definitions, Kubernetes hears of some of them half a minute later.
func counted(ctx context.Context, c *connection, tenant *redoubt.Tenant, deadline time.Time) error {
	for {
		var uncounted string
		for _, namespace := range tenant.Status.Namespaces {
			var quotas corev1.ResourceQuotaList
			if err := c.List(ctx, &quotas, client.InNamespace(namespace), client.MatchingLabels{redoubt.TenantLabel: tenant.Name}); err != nil {
				return err
			}
			for i := range quotas.Items {
				uncounted = orElse(uncounted, uncountedBy(&quotas.Items[i]))
			}
		}
		if uncounted == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("tenant '%s' is not in force: nobody has counted its %s; does kube-controller-manager run?", tenant.Name, uncounted)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// uncountedBy names something that a quota bounds and nobody has counted yet;
// empty where there is none.
func uncountedBy(quota *corev1.ResourceQuota) string {
	for name, most := range quota.Spec.Hard {
		held, known := quota.Status.Hard[name]
		if _, counted := quota.Status.Used[name]; !known || !counted || held.Cmp(most) != 0 {
			return string(name)
		}
	}
	return ""
}
