package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/tenant/credential"
)

// tenantKubeconfig is the command's flags.
type tenantKubeconfig struct {
	clusterFlags
	user string
	life time.Duration
	file string
	// revoke takes certificates back instead.
	revoke bool
}

func newTenantKubeconfig(a *app) *cobra.Command {
	k := &tenantKubeconfig{clusterFlags: clusterFlags{app: a}}
	cmd := &cobra.Command{
		Use:   "kubeconfig NAME",
		Short: "Make a kubeconfig for one of a tenant's users",
		Long: `Make a kubeconfig for one of a tenant's users. He may work in the tenant's
namespaces, as they are at any time, and nowhere else. The cluster signs it
for --duration, and running the command again makes the next one. --revoke takes
back what was made for --user so far, or without it for all of the tenant's users.`,
		Example: `  redoubt tenant kubeconfig acme --user alice -o alice.kubeconfig
  redoubt tenant kubeconfig acme --user deploy --duration 1h -o deploy.kubeconfig
  redoubt tenant kubeconfig acme --user alice --revoke
  redoubt tenant kubeconfig acme --revoke`,
		Args: oneName("tenant"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := credential.Check(k.user, k.life); err != nil {
				return usage(err)
			}
			set := cmd.Flags().Changed
			if k.revoke && (set("duration") || set("output")) {
				return usage(errors.New("--revoke makes no kubeconfig; leave --duration and --output out"))
			}
			if k.revoke && !set("user") {
				k.user = ""
			}
			c, err := k.connect(cmd)
			if err != nil {
				return err
			}
			if k.revoke {
				return revoke(cmd, c, args[0], k.user)
			}
			return k.make(cmd, c, args[0])
		},
		ValidArgsFunction: complete(&k.clusterFlags, tenants),
	}
	k.register(cmd, false)
	flags := cmd.Flags()
	flags.StringVar(&k.user, "user", "developer", "name of the user, as the audit log has it")
	flags.DurationVar(&k.life, "duration", 24*time.Hour, "how long it is good for, 10m to 8760h; the cluster may make it less")
	flags.BoolVar(&k.revoke, "revoke", false, "take back every kubeconfig made so far, for --user or else for all users, and make none")
	flags.StringVarP(&k.file, "output", "o", "", "file to write, for its owner alone (default: standard output)")
	return cmd
}

func (k *tenantKubeconfig) make(cmd *cobra.Command, c *connection, name string) error {
	var tenant redoubt.Tenant
	if err := c.Get(cmd.Context(), client.ObjectKey{Name: name}, &tenant); err != nil {
		return err
	}
	namespaces := tenant.Status.Namespaces
	if len(namespaces) == 0 {
		return fmt.Errorf("tenant '%s' has no namespace that its user could work in; give it one first: redoubt tenant update %s --namespaces NAME", name, name)
	}
	var of redoubt.TenantCredential
	if err := changeCredentials(cmd, c, &tenant, func() error { of = credential.Of(&tenant, k.user); return nil }); err != nil {
		return err
	}
	signed, err := credential.Request(cmd.Context(), c, name, of, k.life)
	if err != nil {
		return err
	}
	data, err := kubeconfigFor(c.config, redoubt.TenantUser(name, k.user), namespaces[0], signed)
	if err != nil {
		return err
	}
	if k.file == "" {
		_, err = cmd.OutOrStdout().Write(data)
	} else {
		err = writePrivate(k.file, data)
	}
	if err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "User '%s' of tenant '%s' may work in %s until %s. Run this again before then.\n",
		k.user, name, strings.Join(namespaces, ", "), signed.Until.Local().Format(time.RFC3339))
	return nil
}

// revoke takes back what was made for a user, or for all of them where user is
// empty, and waits until it is good for nothing.
func revoke(cmd *cobra.Command, c *connection, name, user string) error {
	tenant := &redoubt.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}}
	err := changeCredentials(cmd, c, tenant, func() error {
		if !credential.Revoke(tenant, user) && user != "" {
			return fmt.Errorf("user '%s' of tenant '%s' has no kubeconfig; see who has: redoubt tenant describe %s", user, name, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if user == "" {
		fmt.Fprintf(cmd.OutOrStdout(), "Every kubeconfig made for tenant '%s' so far is revoked.\n", name)
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "Every kubeconfig made for user '%s' of tenant '%s' so far is revoked.\n", user, name)
	}
	return nil
}

// changeCredentials changes those of a tenant as it is now, and waits until the
// change is in force.
func changeCredentials(cmd *cobra.Command, c *connection, tenant *redoubt.Tenant, change func() error) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := c.Get(cmd.Context(), client.ObjectKeyFromObject(tenant), tenant); err != nil {
			return err
		}
		before := slices.Clone(tenant.Spec.Credentials)
		if err := change(); err != nil || slices.Equal(before, tenant.Spec.Credentials) {
			return err
		}
		return c.Update(cmd.Context(), tenant, fieldOwner)
	})
	if err != nil {
		return err
	}
	return inForce(cmd.Context(), c, tenant, nil, credentialLimit)
}

// credentialLimit is how long the controller may take.
const credentialLimit = time.Minute

// kubeconfigFor reaches the cluster of cfg as somebody else.
func kubeconfigFor(cfg *rest.Config, user, namespace string, signed *credential.Credential) ([]byte, error) {
	cfg = rest.CopyConfig(cfg)
	if err := rest.LoadTLSFiles(cfg); err != nil {
		return nil, fmt.Errorf("read the cluster's certificate: %w", err)
	}
	const cluster = "redoubt"
	made := clientapi.NewConfig()
	made.Clusters[cluster] = &clientapi.Cluster{
		Server: cfg.Host, CertificateAuthorityData: cfg.CAData, TLSServerName: cfg.ServerName, InsecureSkipTLSVerify: cfg.Insecure,
	}
	made.AuthInfos[user] = &clientapi.AuthInfo{ClientCertificateData: signed.Certificate, ClientKeyData: signed.Key}
	made.Contexts[user] = &clientapi.Context{Cluster: cluster, AuthInfo: user, Namespace: namespace}
	made.CurrentContext = user
	return clientcmd.Write(*made)
}

// writePrivate replaces a file in one step; nobody but its owner can read it.
func writePrivate(path string, data []byte) error {
	if isSpecial(path) {
		return writeThrough(path, func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".kubeconfig-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it is gone once it has the other name
	_, err = f.Write(data)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
