package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/gateway/guard"
)

var httpTriggers = triggerKind{
	word: "http", kind: "HTTPTrigger",
	one:  func() client.Object { return &kubeless.HTTPTrigger{} },
	list: func() client.ObjectList { return &kubeless.HTTPTriggerList{} },
}

func newHTTPTrigger(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "http",
		Short: "Let functions answer to hosts of yours, below paths, over TLS, to those who know a password",
		Long: `Let functions answer to hosts of yours, below paths, over TLS, to those who know
a password. A function answers at its own URL without any of this.`,
	}
	cmd.AddCommand(
		newHTTPCreate(a),
		newHTTPUpdate(a),
		newList(a, lister{use: "list [NAME]", short: "List triggers by HTTP", kind: "httptrigger", list: httpTriggers.list, table: tableOfHTTPTriggers}),
		newTriggerDelete(a, httpTriggers),
	)
	return cmd
}

func tableOfHTTPTriggers(_ *cobra.Command, c *connection, list client.ObjectList, wide bool) (table, error) {
	t := table{columns: c.column("NAME", "URL", "FUNCTION", "READY", "REASON")}
	if wide {
		t.columns = append(t.columns, "TLS", "PASSWORDS", "CORS", "AGE")
	}
	for _, trigger := range list.(*kubeless.HTTPTriggerList).Items {
		spec, s := &trigger.Spec, &trigger.Status
		row := c.row(trigger.Namespace, trigger.Name, s.URL, spec.FunctionName, readyColumn(s.Conditions), reasonColumn(s.Conditions))
		if wide {
			row = append(row, orElse(spec.TLSSecret, "<none>"), orElse(spec.BasicAuthSecret, "<none>"), fmt.Sprint(spec.CORSEnable), age(trigger.CreationTimestamp))
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

// httpWriter writes triggers by HTTP, with flags named as Kubeless names them.
type httpWriter struct {
	triggerWriter
	function, path, host, gateway string
	tlsSecret, basicAuthSecret    string
	cors, acme                    bool
}

// gateways are those that Kubeless knows.
var gateways = []string{"nginx", "traefik", "kong"}

func newHTTPWriter(a *app, cmd *cobra.Command) *httpWriter {
	w := &httpWriter{triggerWriter: triggerWriter{clusterFlags: clusterFlags{app: a}, triggerKind: httpTriggers}}
	w.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&w.function, "function-name", "", "function to call")
	flags.StringVar(&w.host, "hostname", "", "host that the function answers to (default: that of its own URL)")
	flags.StringVar(&w.path, "path", "", "what the paths of its requests begin with; the function does not see it (default /)")
	flags.StringVar(&w.tlsSecret, "tls-secret", "", "secret with the host's certificate, of the type kubernetes.io/tls; requests without TLS are then led to https")
	flags.StringVar(&w.basicAuthSecret, "basic-auth-secret", "", "secret whose key auth has users and passwords as htpasswd writes them")
	flags.BoolVar(&w.cors, "cors-enable", false, "let pages of all origins call the function")
	flags.StringVar(&w.gateway, "gateway", "", "without effect: Redoubt's own gateway serves all triggers")
	flags.BoolVar(&w.acme, "enableTLSAcme", false, "")
	_ = flags.MarkHidden("enableTLSAcme")
	_ = flags.MarkHidden("gateway")
	return w
}

func newHTTPCreate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME --function-name FUNCTION",
		Short: "Let a function answer to a host",
		Example: `  redoubt trigger http create shop --function-name orders --hostname www.example.org --path orders
  redoubt trigger http create private --function-name orders --basic-auth-secret users --cors-enable`,
		Args: oneName("trigger"),
	}
	w := newHTTPWriter(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t := &kubeless.HTTPTrigger{ObjectMeta: metav1.ObjectMeta{Name: args[0]}}
		if err := w.need("shop --function-name orders --hostname www.example.org", "function-name"); err != nil {
			return err
		}
		if err := w.apply(&t.Spec); err != nil {
			return err
		}
		return w.create(cmd, t, func(c *connection) error { return c.checkHTTPTrigger(cmd, t) })
	}
	return cmd
}

func newHTTPUpdate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "update NAME",
		Short:   "Change a trigger as the flags say",
		Example: `  redoubt trigger http update shop --cors-enable`,
		Args:    oneName("trigger"),
	}
	w := newHTTPWriter(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if w.set.Changed("hostname") {
			return usage(fmt.Errorf("--hostname: a trigger keeps its host, because who comes first has it; delete the trigger and create it again: redoubt trigger http delete %s", args[0]))
		}
		t := &kubeless.HTTPTrigger{}
		return w.update(cmd, args[0], t, func(c *connection) error {
			if err := w.apply(&t.Spec); err != nil {
				return err
			}
			return c.checkHTTPTrigger(cmd, t)
		})
	}
	cmd.ValidArgsFunction = complete(&w.clusterFlags, httpTriggers.list)
	return cmd
}

// apply changes what the flags name, and refuses what could never be.
func (w *httpWriter) apply(spec *kubeless.HTTPTriggerSpec) error {
	if w.acme {
		return usage(errors.New("--enableTLSAcme: certificates are not ordered by ACME; put one into a secret (kubectl create secret tls NAME --cert FILE --key FILE) and name it with --tls-secret"))
	}
	if w.set.Changed("gateway") && !slices.Contains(gateways, w.gateway) {
		return usage(fmt.Errorf("--gateway %q is none of Kubeless's (%s); leave it out, Redoubt's own gateway serves all triggers", w.gateway, strings.Join(gateways, ", ")))
	}
	for name, to := range map[string]*string{
		"function-name": &spec.FunctionName, "hostname": &spec.HostName, "path": &spec.Path,
		"tls-secret": &spec.TLSSecret, "basic-auth-secret": &spec.BasicAuthSecret, "gateway": &spec.Gateway,
	} {
		if w.set.Changed(name) {
			*to = w.set.Lookup(name).Value.String()
		}
	}
	spec.HostName = strings.ToLower(spec.HostName)
	if w.set.Changed("cors-enable") {
		spec.CORSEnable = w.cors
	}
	return nil
}

// checkHTTPTrigger says what of a trigger would not work: the gateway could
// only say so to those who ask it.
func (c *connection) checkHTTPTrigger(cmd *cobra.Command, t *kubeless.HTTPTrigger) error {
	if _, err := c.function(cmd, t.Spec.FunctionName); err != nil {
		return err
	}
	return guard.OfTrigger(t).Load(cmd.Context(), func(ctx context.Context, name types.NamespacedName) (map[string][]byte, error) {
		var s corev1.Secret
		err := c.Get(ctx, name, &s)
		if apierrors.IsForbidden(err) {
			return nil, fmt.Errorf("you may not read it, so that it cannot be checked; apply the trigger with kubectl instead: %w", err)
		}
		return s.Data, err
	})
}
