package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// fieldOwner is who the command line is to the API server.
const fieldOwner = client.FieldOwner("redoubt")

// serviceWriter is what create, update and apply have in common.
type serviceWriter struct {
	clusterFlags
	serviceFlags
	waitFlags
	file string
}

func (w *serviceWriter) registerAll(cmd *cobra.Command) {
	w.clusterFlags.register(cmd, false)
	w.serviceFlags.register(cmd.Flags())
	w.serviceFlags.registerTraffic(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("runtime-class", complete(&w.clusterFlags, runtimeClasses))
	w.waitFlags.register(cmd, true)
}

func newServiceCreate(a *app) *cobra.Command {
	w := &serviceWriter{clusterFlags: clusterFlags{app: a}}
	var force bool
	cmd := &cobra.Command{
		Use:   "create NAME --image IMAGE",
		Short: "Create a service and wait until it is ready",
		Example: `  redoubt service create hello --image localhost/helloworld-go:latest --runtime-class gvisor
  redoubt service create hello --image localhost/helloworld-go:latest --env TARGET=world --scale 0..5
  redoubt service create -f service.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, svc, err := w.wanted(cmd, args)
			if err != nil {
				return err
			}
			err = c.Create(cmd.Context(), svc, fieldOwner)
			switch {
			case err == nil:
				return w.finish(cmd, c, svc, "Creating", "created")
			case !apierrors.IsAlreadyExists(err):
				return err
			case !force:
				return fmt.Errorf("service '%s' exists in namespace '%s'; change it with 'service update' or 'service apply', or replace it with --force", svc.Name, c.namespace)
			}
			if err := replace(cmd, c, svc); err != nil {
				return err
			}
			return w.finish(cmd, c, svc, "Replacing", "replaced")
		},
	}
	w.registerAll(cmd)
	cmd.Flags().StringVarP(&w.file, "filename", "f", "", "file with the service; - is the standard input")
	cmd.Flags().BoolVar(&force, "force", false, "replace the service if it exists")
	return cmd
}

// replace writes svc over what is there.
func replace(cmd *cobra.Command, c *connection, svc *serving.Service) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var old serving.Service
		if err := c.Get(cmd.Context(), client.ObjectKeyFromObject(svc), &old); err != nil {
			return err
		}
		svc.ResourceVersion = old.ResourceVersion
		return c.Update(cmd.Context(), svc, fieldOwner)
	})
}

func newServiceApply(a *app) *cobra.Command {
	w := &serviceWriter{clusterFlags: clusterFlags{app: a}}
	cmd := &cobra.Command{
		Use:   "apply NAME --image IMAGE | apply -f FILE",
		Short: "Create a service, or make an existing one what the flags or the file say",
		Example: `  redoubt service apply hello --image localhost/helloworld-go:latest --env TARGET=world
  redoubt service apply -f service.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, svc, err := w.wanted(cmd, args)
			if err != nil {
				return err
			}
			if err := applyService(cmd.Context(), c, svc); err != nil {
				return err
			}
			return w.finish(cmd, c, svc, "Applying", "applied")
		},
	}
	w.registerAll(cmd)
	cmd.Flags().StringVarP(&w.file, "filename", "f", "", "file with the service; - is the standard input")
	return cmd
}

// applyService applies svc on the server's side and fills in what it became.
// Only what the user wrote is sent: a field that is sent is owned.
func applyService(ctx context.Context, c client.Client, svc *serving.Service) error {
	svc.TypeMeta = metav1.TypeMeta{APIVersion: serving.GroupVersion.String(), Kind: "Service"}
	svc.ManagedFields = nil
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(svc)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{Object: content}
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(u.Object, "spec", "template", "metadata", "creationTimestamp")
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), fieldOwner, client.ForceOwnership); err != nil {
		return err
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, svc)
}

func newServiceUpdate(a *app) *cobra.Command {
	w := &serviceWriter{clusterFlags: clusterFlags{app: a}}
	cmd := &cobra.Command{
		Use:   "update NAME",
		Short: "Change a service as the flags say and wait until it is ready",
		Example: `  redoubt service update hello --env TARGET=you
  redoubt service update hello --traffic hello-00001=50,@latest=50`,
		Args: oneName("service"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := w.connect(cmd)
			if err != nil {
				return err
			}
			svc := &serving.Service{}
			err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
				if err := c.Get(cmd.Context(), c.key(args[0]), svc); err != nil {
					return err
				}
				if err := w.change(svc); err != nil {
					return err
				}
				return c.Update(cmd.Context(), svc, fieldOwner)
			})
			if err != nil {
				return err
			}
			return w.finish(cmd, c, svc, "Updating", "updated")
		},
		ValidArgsFunction: complete(&w.clusterFlags, services),
	}
	w.registerAll(cmd)
	return cmd
}

// change applies the flags. A changed template needs another revision name, so
// one that it brought itself is dropped unless the flags give a new one.
func (w *serviceWriter) change(svc *serving.Service) error {
	before := svc.Spec.Template.DeepCopy()
	if err := errors.Join(w.apply(svc), w.applyTraffic(svc)); err != nil {
		return err
	}
	template := &svc.Spec.Template
	if template.Name == before.Name && !equality.Semantic.DeepEqual(before, template) {
		template.Name = ""
	}
	return nil
}

// wanted is the service that file and flags describe.
func (w *serviceWriter) wanted(cmd *cobra.Command, args []string) (*connection, *serving.Service, error) {
	svc := &serving.Service{}
	if w.file != "" {
		if err := readService(cmd, w.file, svc); err != nil {
			return nil, nil, err
		}
	}
	switch {
	case len(args) > 1 || len(args) == 0 && svc.Name == "":
		return nil, nil, usage(fmt.Errorf("'service %s' needs the name of one service", cmd.Name()))
	case len(args) == 1 && svc.Name != "" && svc.Name != args[0]:
		return nil, nil, usage(fmt.Errorf("the file describes service '%s', not '%s'", svc.Name, args[0]))
	case len(args) == 1:
		svc.Name = args[0]
	}
	if w.file == "" && w.image == "" {
		return nil, nil, usage(fmt.Errorf("'service %s' needs the image to run: add --image IMAGE", cmd.Name()))
	}
	c, err := w.connect(cmd)
	if err != nil {
		return nil, nil, err
	}
	if svc.Namespace == "" || w.namespace != "" {
		svc.Namespace = c.namespace
	}
	c.namespace = svc.Namespace
	return c, svc, errors.Join(w.apply(svc), w.applyTraffic(svc))
}

// maxFile bounds a file, in bytes; etcd takes no larger object.
const maxFile = 1 << 20

// readService reads one service and refuses fields that it has not.
func readService(cmd *cobra.Command, path string, svc *serving.Service) error {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > maxFile {
		return fmt.Errorf("read %s: it is longer than %d bytes", path, maxFile)
	}
	err = onlyDocument(data)
	if err == nil {
		err = decodeStrictly(data, svc)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if svc.APIVersion != serving.GroupVersion.String() || svc.Kind != "Service" {
		return fmt.Errorf("read %s: apiVersion and kind must be %s and Service", path, serving.GroupVersion)
	}
	svc.Status = serving.ServiceStatus{}
	return nil
}

// onlyDocument refuses YAML of several documents, of which only the first would
// be read.
func onlyDocument(data []byte) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for n := 0; ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		// What cannot be read is no empty document; decodeStrictly says what is wrong.
		if content, err := yaml.YAMLToJSON(document); err == nil && string(content) == "null" {
			continue
		}
		if n++; n > 1 {
			return errors.New("it has more than one document, and a service is one; give each a file of its own, or use: redoubt kubectl apply -f FILE")
		}
	}
}

// decodeStrictly reads YAML or JSON as the API server does: it tells the case
// of fields, and names by its path each one that is unknown or given twice.
func decodeStrictly(data []byte, object any) error {
	data, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return err
	}
	wrong, err := json.UnmarshalStrict(data, object)
	return errors.Join(append(wrong, err)...)
}

// finish says what was done, and waits for its effect unless told not to.
func (w *serviceWriter) finish(cmd *cobra.Command, c *connection, svc *serving.Service, doing, done string) error {
	if !w.wait {
		fmt.Fprintf(cmd.OutOrStdout(), "Service '%s' %s in namespace '%s'.\n", svc.Name, done, c.namespace)
		return nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s service '%s' in namespace '%s':\n\n", doing, svc.Name, c.namespace)
	ready, err := w.ready(cmd, c, svc)
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr())
	fmt.Fprintf(cmd.OutOrStdout(), "Service '%s' %s to latest revision '%s' is available at URL:\n%s\n",
		ready.Name, done, ready.Status.LatestReadyRevisionName, ready.Status.URL)
	return nil
}
