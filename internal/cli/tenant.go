package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

func newTenant(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "tenant",
		Aliases: []string{"tenants"},
		Short:   "Say which sandboxes and how much each tenant may use",
		Long: `Say which sandboxes and how much each tenant may use. A tenant's namespaces are
those with the label redoubt.dev/tenant. What is below the tenant's floor is
refused by the API server, and stopped on the node if it gets there.`,
	}
	cmd.AddCommand(
		newTenantCreate(a),
		newTenantUpdate(a),
		newList(a, lister{use: "list [NAME]", short: "List tenants", kind: "tenant", list: tenants, table: tableOfTenants}),
		newDescribe(a, describer[*redoubt.Tenant]{
			kind: "tenant", short: "Describe a tenant, what is open to it and what it uses",
			empty: func() *redoubt.Tenant { return &redoubt.Tenant{} }, list: tenants, describe: describeTenant,
		}),
		newTenantKubeconfig(a),
		newTenantDelete(a),
	)
	return cmd
}

func tenants() client.ObjectList { return &redoubt.TenantList{} }

func tableOfTenants(_ *cobra.Command, _ *connection, list client.ObjectList, wide bool) (table, error) {
	t := table{columns: []string{"NAME", "FLOOR", "DEFAULT", "CLASSES", "NAMESPACES", "CPU", "MEMORY", "PODS", "READY", "AGE"}}
	if wide {
		t.columns = append(t.columns, "REASON")
	}
	for _, tenant := range list.(*redoubt.TenantList).Items {
		s, ready := &tenant.Status, readyOf(&tenant)
		cpu, memory, pods := useOf(&tenant)
		row := []string{
			tenant.Name, floorOf(&tenant.Spec), orElse(tenant.Spec.DefaultClass, "<none>"), orElse(strings.Join(s.OpenClasses, ","), "<none>"),
			orElse(strings.Join(s.Namespaces, ","), "<none>"), cpu, memory, pods, string(ready.Status), age(tenant.CreationTimestamp),
		}
		if wide {
			row = append(row, ready.Message)
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

func floorOf(spec *redoubt.TenantSpec) string {
	if spec.AllowEmulatedVM {
		return spec.Floor + " (emulated VMs allowed)"
	}
	return spec.Floor
}

// readyOf is the tenant's condition Ready, unknown where it is of another
// generation.
func readyOf(tenant *redoubt.Tenant) metav1.Condition {
	c := meta.FindStatusCondition(tenant.Status.Conditions, redoubt.Ready)
	if c == nil || c.ObservedGeneration != tenant.Generation {
		return metav1.Condition{Status: metav1.ConditionUnknown, Message: "the controller has not looked at it yet"}
	}
	return *c
}

// useOf is what the pods of all namespaces use of the quota, those that wait
// for room among them.
func useOf(tenant *redoubt.Tenant) (cpu, memory, pods string) {
	used, quota := &tenant.Status.Used, &tenant.Spec.Quota
	return share(used.CPU, quota.CPU), share(used.Memory, quota.Memory), share(count(used.Pods), count(quota.Pods))
}

// share is USED/MOST; what is not bounded is not counted.
func share(used, most *resource.Quantity) string {
	if most == nil {
		return "<unbounded>"
	}
	if used == nil {
		used = &resource.Quantity{}
	}
	return used.String() + "/" + most.String()
}

func bound(n *int64) string {
	if n == nil {
		return "<unbounded>"
	}
	return strconv.FormatInt(*n, 10)
}

func count(n *int64) *resource.Quantity {
	if n == nil {
		return nil
	}
	return resource.NewQuantity(*n, resource.DecimalSI)
}

// usersOf are those for whom kubeconfigs were made that may still be good.
func usersOf(tenant *redoubt.Tenant) []string {
	var users []string
	for _, c := range tenant.Spec.Credentials {
		users = append(users, c.User)
	}
	return users
}

func describeTenant(_ context.Context, out io.Writer, _ *connection, tenant *redoubt.Tenant, _ bool) error {
	s := &tenant.Status
	d := newDescription(out)
	d.attribute("Name", tenant.Name)
	d.attribute("Age", age(tenant.CreationTimestamp))
	d.attribute("Floor", floorOf(&tenant.Spec))
	d.attribute("Default class", orElse(tenant.Spec.DefaultClass, "<none>: pods must name one"))
	d.attribute("Namespaces", orElse(strings.Join(s.Namespaces, ", "), "<none>"))
	d.attribute("Users with kubeconfigs", orElse(strings.Join(usersOf(tenant), ", "), "<none>"))
	d.section()
	classes := d.attribute("Classes", "")
	for _, name := range s.OpenClasses {
		classes.attribute(name, "open")
	}
	for _, c := range s.ClosedClasses {
		classes.attribute(c.Name, "closed: it "+c.Reason)
	}
	d.section()
	cpu, memory, pods := useOf(tenant)
	used := d.attribute("Used in all namespaces", "")
	used.attribute("CPU", cpu)
	used.attribute("Memory", memory)
	used.attribute("Ephemeral storage", share(s.Used.EphemeralStorage, tenant.Spec.Quota.EphemeralStorage))
	used.attribute("Pods", pods)
	used.attribute("Services", share(count(s.Used.Services), count(tenant.Spec.Quota.Services)))
	used.attribute("Functions", share(count(s.Used.Functions), count(tenant.Spec.Quota.Functions)))
	d.section()
	through := d.attribute("Through each gateway", "")
	through.attribute("Requests per second", bound(tenant.Spec.Gateway.RequestsPerSecond))
	through.attribute("Cold starts at a time", bound(tenant.Spec.Gateway.ColdStarts))
	d.section()
	calls := d.attribute("Calls of other tenants' services, where they allow it, too", "")
	calls.attribute("To", orElse(strings.Join(tenant.Spec.Calls.To, ", "), "<none>"))
	calls.attribute("From", orElse(strings.Join(tenant.Spec.Calls.From, ", "), "<none>"))
	d.section()
	ready := readyOf(tenant)
	d.attribute("Ready", strings.TrimSuffix(string(ready.Status)+": "+ready.Message, ": "))
	return d.out.Flush()
}

func newTenantDelete(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	cmd := &cobra.Command{
		Use:   "delete NAME...",
		Short: "Delete tenants that have no namespaces",
		Long:  "Delete tenants. One that has namespaces is kept: nobody would know their floor.",
		RunE: func(cmd *cobra.Command, names []string) error {
			if len(names) == 0 {
				return usage(errors.New("'tenant delete' needs the names of tenants"))
			}
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			return each(names, func(name string) error {
				if err := c.Delete(cmd.Context(), &redoubt.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "Tenant '%s' deleted.\n", name)
				return nil
			})
		},
		ValidArgsFunction: complete(f, tenants),
	}
	f.register(cmd, false)
	return cmd
}
