package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/audit"
)

func newAudit(a *app) *cobra.Command {
	f, print, wanted, since := &clusterFlags{app: a}, &printFlags{}, audit.Filter{}, time.Duration(0)
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "List what was refused, and what needed privileges",
		Long: `List requests to the API server that were refused (by rights, quota, Pod Security
or policy), and those that needed privileges: over other users, secrets, the
inside of pods, a namespace's bounds or the cluster. It reads the instance's own
log, which root alone can.`,
		Example: `  redoubt audit --tenant acme --since 24h
  redoubt audit -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if since < 0 {
				return usage(fmt.Errorf("--since %s: what is to come is not written down; give a time to look back, as 24h", since))
			}
			inst, err := a.instance()
			if err != nil {
				return usage(err)
			}
			if _, err := os.Stat(inst.AuditLog()); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("instance %q has no audit log; boot it with: redoubt up%s", inst.Name, nameFlag(inst))
			}
			f.kubeconfig = inst.Kubeconfig() // whatever else $KUBECONFIG names
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			if wanted.TenantOf, err = c.tenantOf(cmd.Context()); err != nil {
				return err
			}
			wanted.Since = time.Now().Add(-since)
			records, err := audit.Read(inst.AuditLog(), wanted)
			if err != nil {
				return err
			}
			return print.print(cmd.OutOrStdout(), records, func() table { return tableOfRecords(records, print.wide()) })
		},
	}
	print.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&wanted.Tenant, "tenant", "", "only what the tenant's users did, or what was done to what is the tenant's")
	flags.DurationVar(&since, "since", time.Hour, "how far back to look")
	_ = cmd.RegisterFlagCompletionFunc("tenant", complete(f, tenants))
	return cmd
}

// tenantOf names the tenants of namespaces, as they are now.
func (c *connection) tenantOf(ctx context.Context) (func(string) string, error) {
	var namespaces corev1.NamespaceList
	if err := c.List(ctx, &namespaces); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	known := map[string]string{}
	for _, ns := range namespaces.Items {
		known[ns.Name] = ns.Labels[redoubt.TenantLabel]
	}
	return func(namespace string) string { return known[namespace] }, nil
}

func tableOfRecords(records []audit.Record, wide bool) table {
	t := table{columns: []string{"TIME", "TENANT", "USER", "VERB", "RESOURCE", "OBJECT", "VERDICT", "REASON"}}
	if wide {
		t.columns = append(t.columns[:7:7], "CODE", "FROM", "REASON")
	}
	for _, r := range records {
		user, object := r.User, r.Name
		if r.By != "" {
			user += " (" + r.By + ")"
		}
		if r.Namespace != "" {
			object = r.Namespace + "/" + r.Name
		}
		row := []string{
			r.Time.Local().Format(time.DateTime), orElse(strings.Join(r.Tenants, ","), "<none>"), user, r.Verb, r.Resource, orElse(object, "<none>"), string(r.Verdict),
		}
		if wide {
			row = append(row, strconv.Itoa(r.Code), orElse(r.Source, "<none>"))
		}
		t.rows = append(t.rows, append(row, r.Reason))
	}
	return t
}
