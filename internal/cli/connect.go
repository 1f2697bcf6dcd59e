package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"syscall"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/instance"
)

// clusterFlags say which cluster and namespace a command is about.
type clusterFlags struct {
	app        *app
	kubeconfig string
	namespace  string
	everywhere bool
}

// register adds the flags; everywhere is for commands that can list all
// namespaces.
func (f *clusterFlags) register(cmd *cobra.Command, everywhere bool) {
	flags := cmd.Flags()
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "cluster to act on (default: $KUBECONFIG, or the instance of --name)")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "namespace to act in (default: the kubeconfig's, or default)")
	_ = cmd.RegisterFlagCompletionFunc("namespace", complete(f, func() client.ObjectList { return &corev1.NamespaceList{} }))
	if everywhere {
		flags.BoolVarP(&f.everywhere, "all-namespaces", "A", false, "list those of all namespaces")
	}
}

// connection is a cluster and the namespace to act in.
type connection struct {
	client.WithWatch
	config    *rest.Config
	namespace string
}

// connect opens the cluster that the flags name.
func (f *clusterFlags) connect(cmd *cobra.Command) (*connection, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	path, err := f.path(cmd)
	if err != nil {
		return nil, err
	}
	rules.ExplicitPath = path
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{})
	cfg, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, fmt.Errorf("load kubeconfig: no cluster is named in %s; correct $KUBECONFIG, or name a file with --kubeconfig", cmp.Or(path, os.Getenv("KUBECONFIG")))
	}
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig: %w", err)
	}
	if inst, err := f.app.instance(); err == nil && path == inst.Kubeconfig() {
		cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return downHint{next, inst} })
	}
	cfg.UserAgent, cfg.QPS = "redoubt", -1
	cfg.WarningHandler = rest.NewWarningWriter(cmd.ErrOrStderr(), rest.WarningWriterOptions{Deduplicate: true})
	c := &connection{config: cfg, namespace: f.namespace}
	if c.namespace == "" {
		if c.namespace, _, err = loader.Namespace(); err != nil {
			return nil, fmt.Errorf("load kubeconfig: %w", err)
		}
	}
	if f.everywhere {
		c.namespace = ""
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), serving.AddToScheme(scheme), redoubt.AddToScheme(scheme), kubeless.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	c.WithWatch, err = client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	return c, err
}

// downHint says what to do where nothing listens at an instance's port.
type downHint struct {
	http.RoundTripper
	inst instance.Instance
}

func (d downHint) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.RoundTripper.RoundTrip(req)
	if down := hintDown(d.inst, err); down != nil {
		err = down
	}
	return resp, err
}

// hintDown is nil for errors that an instance may give that runs.
func hintDown(inst instance.Instance, err error) error {
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return fmt.Errorf("instance %q is not running (%w); start it with: redoubt up%s", inst.Name, err, nameFlag(inst))
}

// path is the kubeconfig file to read; empty means $KUBECONFIG, which counts
// where neither a file nor an instance is named.
func (f *clusterFlags) path(cmd *cobra.Command) (string, error) {
	if f.kubeconfig != "" {
		return f.kubeconfig, nil
	}
	named := cmd.Flags().Changed("name") || cmd.Flags().Changed("data-dir")
	if !named && os.Getenv("KUBECONFIG") != "" {
		return "", nil
	}
	inst, err := f.app.booted()
	if errors.Is(err, errNotBooted) {
		return "", fmt.Errorf("%w, or name a cluster with --kubeconfig", err)
	}
	if err != nil {
		return "", err
	}
	return inst.Kubeconfig(), nil
}

var errNotBooted = errors.New("has not been booted")

// booted is the instance that the global flags name, if there is a kubeconfig
// of it. Without one, kubectl would ask whatever is at the host's port 8080.
func (a *app) booted() (instance.Instance, error) {
	inst, err := a.instance()
	if err != nil {
		return inst, usage(err)
	}
	if _, err := os.Stat(inst.Kubeconfig()); errors.Is(err, fs.ErrNotExist) {
		return inst, fmt.Errorf("instance %q %w; start it with: redoubt up%s", inst.Name, errNotBooted, nameFlag(inst))
	}
	return inst, nil
}

// key is the object of that name in the connection's namespace.
func (c *connection) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: c.namespace, Name: name}
}

// namesOf are the names of a list's objects.
func namesOf(list client.ObjectList) ([]string, error) {
	objects, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(objects))
	for _, object := range objects {
		accessor, err := meta.Accessor(object)
		if err != nil {
			return nil, err
		}
		names = append(names, accessor.GetName())
	}
	return names, nil
}

// each does something for every name, and goes on after one that fails.
func each(names []string, do func(name string) error) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, do(name))
	}
	return errors.Join(errs...)
}

// withKind fills in apiVersion and kind, which the client leaves out, so that
// what is printed can be applied again.
func (c *connection) withKind(obj runtime.Object) (runtime.Object, error) {
	set := func(o runtime.Object) error {
		gvk, err := apiutil.GVKForObject(o, c.Scheme())
		if err == nil {
			o.GetObjectKind().SetGroupVersionKind(gvk)
		}
		return err
	}
	if meta.IsListType(obj) {
		if err := meta.EachListItem(obj, set); err != nil {
			return nil, err
		}
	}
	return obj, set(obj)
}
