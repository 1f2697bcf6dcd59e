package cli

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/runtimes"
)

// functionFlags are the flags that say what a function is, named as Kubeless
// names them. Only those that were given change anything.
type functionFlags struct {
	runtime, handler, runtimeClass      string
	file, checksum, dependencies        string
	labels, env, secrets, nodeSelectors []string
	serviceAccount, image, pullPolicy   string
	memory, cpu, timeout                string
	port                                int32
	pool                                int
	set                                 *pflag.FlagSet
	// read is what --from-file names, and archive the source where it is above what
	// a Function takes.
	read, archive []byte
}

func (f *functionFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.set = flags
	flags.StringVarP(&f.runtime, "runtime", "r", "", "language of the source: "+strings.Join(runtimes.Names(), ", "))
	flags.StringVar(&f.handler, "handler", "", "what to call, FILE.FUNCTION, as in test.hello")
	flags.StringVarP(&f.file, "from-file", "f", "", "source: a file, a folder, a zip or tar archive, a URL, or - for the standard input")
	flags.StringVar(&f.checksum, "checksum", "", "what --from-file must be, sha256:DIGEST")
	flags.StringVarP(&f.dependencies, "dependencies", "d", "", `file that names what to install, as requirements.txt or package.json; "" for what is in the source`)
	flags.StringVar(&f.runtimeClass, "runtime-class", "", `sandbox that the function runs in, by its RuntimeClass; "" is the cluster's default`)
	flags.StringArrayVarP(&f.labels, "label", "l", nil, "label, NAME=VALUE; NAME- removes it")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "environment variable, NAME=VALUE; NAME- removes it")
	flags.StringSliceVar(&f.secrets, "secrets", nil, "secrets to read in /var/run/secrets/kubeless.io/NAME")
	flags.StringArrayVar(&f.nodeSelectors, "node-selectors", nil, "label that the node must have, NAME=VALUE; NAME- removes it")
	flags.StringVar(&f.serviceAccount, "service-account", "", "service account to run as")
	flags.StringVar(&f.memory, "memory", "", "memory that the function may use, as 128Mi")
	flags.StringVar(&f.cpu, "cpu", "", "processor time that the function may use, as 500m")
	flags.StringVar(&f.timeout, "timeout", "", "seconds that a call may take, 1 to 600 (default 180)")
	flags.StringVar(&f.image, "runtime-image", "", "image instead of the runtime's own; it must keep the runtime's contract")
	flags.StringVar(&f.pullPolicy, "image-pull-policy", "", "Always, IfNotPresent or Never (default IfNotPresent)")
	flags.Int32Var(&f.port, "port", 0, "port that the function listens on in its sandbox (default 8080)")
	flags.IntVar(&f.pool, "warm-pool", 0, "spare instances that wait for a first call, 0 to "+strconv.Itoa(kubeless.MaxPool)+"; functions of the same kind share them (python3 and nodejs)")
	_ = cmd.RegisterFlagCompletionFunc("runtime", cobra.FixedCompletions(runtimes.Names(), cobra.ShellCompDirectiveNoFileComp))
	registerRefused(cmd)
}

// refusedFlags are those of Kubeless that have no meaning here, with what to
// use instead.
var refusedFlags = map[string]string{
	"schedule":    "a schedule is a thing of its own: deploy the function, then: redoubt trigger cronjob create NAME --function NAME --schedule '...'",
	"headless":    "a function needs no service of its own, because the gateway reaches its instances directly: leave it out",
	"servicePort": "the gateway serves all functions on its own port: leave it out, and see the URL with: redoubt function describe NAME",
}

func registerRefused(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.String("schedule", "", "")
	flags.Bool("headless", false, "")
	flags.Int("servicePort", 0, "")
	for name := range refusedFlags {
		_ = flags.MarkHidden(name)
	}
}

// check refuses what can be seen to be wrong without the cluster.
func (f *functionFlags) check() error {
	var errs []error
	for name, instead := range refusedFlags {
		if f.set.Changed(name) {
			errs = append(errs, fmt.Errorf("--%s: %s", name, instead))
		}
	}
	if f.set.Changed("runtime") {
		if _, err := runtimes.Get(f.runtime); err != nil {
			errs = append(errs, fmt.Errorf("--runtime: %w", err))
		}
	}
	if f.set.Changed("handler") && !handlerForm.MatchString(f.handler) {
		errs = append(errs, fmt.Errorf("--handler %q is not FILE.FUNCTION, as in test.hello: the file's name without its ending, a dot, and the function in it", f.handler))
	}
	if f.set.Changed("timeout") {
		if n, err := strconv.Atoi(f.timeout); err != nil || n < 1 || n > 600 {
			errs = append(errs, fmt.Errorf("--timeout %q is not a number of seconds from 1 to 600", f.timeout))
		}
	}
	if f.set.Changed("port") && (f.port < 1 || f.port > 65535) {
		errs = append(errs, fmt.Errorf("--port %d is no port: use 1 to 65535", f.port))
	}
	if f.set.Changed("warm-pool") && (f.pool < 0 || f.pool > kubeless.MaxPool) {
		errs = append(errs, fmt.Errorf("--warm-pool %d is no size of a pool: use 0 to %d", f.pool, kubeless.MaxPool))
	}
	if err := f.checkSource(); err != nil {
		errs = append(errs, err)
	}
	policies := []string{"Always", "IfNotPresent", "Never"}
	if f.pullPolicy != "" && !slices.Contains(policies, f.pullPolicy) {
		errs = append(errs, fmt.Errorf("--image-pull-policy %q is none of: %s", f.pullPolicy, strings.Join(policies, ", ")))
	}
	return errors.Join(errs...)
}

var handlerForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*[.][A-Za-z_][A-Za-z0-9_]*$`)

// apply changes fn as the flags say.
func (f *functionFlags) apply(cmd *cobra.Command, fn *kubeless.Function) error {
	if err := f.check(); err != nil {
		return usage(err)
	}
	f.applyPlain(fn)
	err1 := errors.Join(f.applyDependencies(fn), f.applySource(cmd, fn))
	err2 := change("--label", f.labels, &fn.Labels)
	err3 := change("--node-selectors", f.nodeSelectors, &fn.Spec.Deployment.Spec.Template.Spec.NodeSelector)
	err4 := f.applyContainer(fn)
	return errors.Join(err1, err2, err3, err4)
}

func (f *functionFlags) applyPlain(fn *kubeless.Function) {
	pod := &fn.Spec.Deployment.Spec.Template.Spec
	for name, to := range map[string]*string{
		"runtime": &fn.Spec.Runtime, "handler": &fn.Spec.Handler, "timeout": &fn.Spec.Timeout, "service-account": &pod.ServiceAccountName,
	} {
		if f.set.Changed(name) {
			*to = f.set.Lookup(name).Value.String()
		}
	}
	if f.set.Changed("runtime-class") {
		fn.Spec.RuntimeClassName = nil
		if f.runtimeClass != "" {
			fn.Spec.RuntimeClassName = &f.runtimeClass
		}
	}
	if f.set.Changed("warm-pool") {
		metav1.SetMetaDataAnnotation(&fn.ObjectMeta, kubeless.PoolAnnotation, strconv.Itoa(f.pool))
	}
	if f.set.Changed("port") {
		fn.Spec.Service.Ports = []corev1.ServicePort{{Name: "http", Port: f.port, TargetPort: intstr.FromInt32(f.port), Protocol: corev1.ProtocolTCP}}
	}
}

// applyContainer changes the container, which is there only if a flag is
// about it.
func (f *functionFlags) applyContainer(fn *kubeless.Function) error {
	pod := &fn.Spec.Deployment.Spec.Template.Spec
	c := &kubeless.Container{}
	if len(pod.Containers) > 0 {
		c = &pod.Containers[0]
	}
	if f.set.Changed("runtime-image") {
		c.Image = f.image
	}
	if f.set.Changed("image-pull-policy") {
		c.ImagePullPolicy = corev1.PullPolicy(f.pullPolicy)
	}
	err := errors.Join(changeEnv(f.env, &c.Env), f.applyLimit(c, "memory", f.memory), f.applyLimit(c, "cpu", f.cpu))
	if f.set.Changed("secrets") {
		f.applySecrets(pod, c)
	}
	if len(pod.Containers) == 0 && f.aboutContainer() {
		pod.Containers = []kubeless.Container{*c}
	}
	return err
}

func (f *functionFlags) aboutContainer() bool {
	return slices.ContainsFunc([]string{"runtime-image", "image-pull-policy", "env", "memory", "cpu", "secrets"}, f.set.Changed)
}

func (f *functionFlags) applyLimit(c *kubeless.Container, name, value string) error {
	if value == "" {
		return nil
	}
	q, err := resource.ParseQuantity(value)
	if err != nil || q.Sign() <= 0 {
		return usage(fmt.Errorf("--%s %q is no amount, as 128Mi of memory or 500m of a processor", name, value))
	}
	if c.Resources.Limits == nil {
		c.Resources.Limits, c.Resources.Requests = corev1.ResourceList{}, corev1.ResourceList{}
	}
	c.Resources.Limits[corev1.ResourceName(name)] = q
	c.Resources.Requests[corev1.ResourceName(name)] = q
	return nil
}

// applySecrets mounts secrets where Kubeless does.
func (f *functionFlags) applySecrets(pod *kubeless.PodSpec, c *kubeless.Container) {
	pod.Volumes, c.VolumeMounts = nil, nil
	for _, name := range f.secrets {
		volume := name + "-vol"
		pod.Volumes = append(pod.Volumes, kubeless.Volume{Name: volume, Secret: &corev1.SecretVolumeSource{SecretName: name}})
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: "/var/run/secrets/kubeless.io/" + name, ReadOnly: true})
	}
}
