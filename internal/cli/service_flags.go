package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// serviceFlags are the flags that say what a service is, named as kn names
// them. Only those that were given change anything.
type serviceFlags struct {
	image, port, runtimeClass     string
	env, arg, command             []string
	envFrom                       []string
	label, annotation             []string
	request, limit                []string
	serviceAccount, pullPolicy    string
	pullSecret, revisionName      string
	user, concurrencyLimit        int64
	timeout                       int64
	clusterLocal, noClusterLocal  bool
	scale, scaleMetric, window    string
	scaleMin, scaleMax, scaleInit int
	scaleActivation, scaleTarget  int
	scaleUtilization              int
	scaleDownDelay, podRetention  string
	tag, untag, traffic           []string
	set                           *pflag.FlagSet
}

func (f *serviceFlags) register(flags *pflag.FlagSet) {
	f.set = flags
	flags.StringVar(&f.image, "image", "", "image to run")
	flags.StringVar(&f.runtimeClass, "runtime-class", "", `sandbox that the instances run in, by its RuntimeClass; "" is the cluster's default`)
	flags.StringVarP(&f.port, "port", "p", "", "port that the image listens on, [h2c:]PORT")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "environment variable, NAME=VALUE; NAME- removes it")
	flags.StringArrayVar(&f.envFrom, "env-from", nil, "environment variables from cm:NAME or secret:NAME; cm:NAME- removes them")
	flags.StringArrayVar(&f.command, "cmd", nil, "command instead of the image's own, one word per flag")
	flags.StringArrayVar(&f.arg, "arg", nil, "argument of the command, one per flag")
	flags.StringArrayVarP(&f.label, "label", "l", nil, "label of the service and its revisions, NAME=VALUE; NAME- removes it")
	flags.StringArrayVarP(&f.annotation, "annotation", "a", nil, "annotation of the service and its revisions, NAME=VALUE; NAME- removes it")
	flags.StringSliceVar(&f.request, "request", nil, "resources to set aside, cpu=100m,memory=64Mi; cpu- removes it")
	flags.StringSliceVar(&f.limit, "limit", nil, "resources to stop at, cpu=1,memory=256Mi; cpu- removes it")
	flags.StringVar(&f.serviceAccount, "service-account", "", `service account of the instances; "" is the namespace's default`)
	flags.StringVar(&f.pullPolicy, "pull-policy", "", "Always, Never or IfNotPresent")
	flags.StringVar(&f.pullSecret, "pull-secret", "", `secret to pull the image with; "" removes it`)
	flags.StringVar(&f.revisionName, "revision-name", "", "name of the new revision, SERVICE-...; the default is numbered")
	flags.Int64Var(&f.user, "user", 0, "user id to run as")
	flags.Int64Var(&f.concurrencyLimit, "concurrency-limit", 0, "requests that one instance gets at a time; 0 is no limit")
	flags.Int64Var(&f.timeout, "timeout", serving.DefaultTimeoutSeconds, "seconds that a request may take")
	flags.BoolVar(&f.clusterLocal, "cluster-local", false, "reachable inside the cluster only")
	flags.BoolVar(&f.noClusterLocal, "no-cluster-local", false, "reachable from outside the cluster")
	f.registerScale(flags)
}

// apply changes svc as the flags say.
func (f *serviceFlags) apply(svc *serving.Service) error {
	spec := &svc.Spec.Template.Spec
	if len(spec.Containers) == 0 {
		spec.Containers = []serving.Container{{}}
	}
	c := spec.Serving()
	return errors.Join(
		f.applyContainer(c),
		f.applyEnvironment(c),
		f.applyResources(c),
		f.applyPod(svc),
		f.applyMetadata(svc),
		f.applyScale(svc),
	)
}

func (f *serviceFlags) applyContainer(c *serving.Container) error {
	if f.set.Changed("image") {
		c.Image = f.image
	}
	if f.set.Changed("cmd") {
		c.Command = f.command
	}
	if f.set.Changed("arg") {
		c.Args = f.arg
	}
	if f.set.Changed("pull-policy") {
		c.ImagePullPolicy = corev1.PullPolicy(f.pullPolicy)
	}
	if f.set.Changed("user") {
		if c.SecurityContext == nil {
			c.SecurityContext = &corev1.SecurityContext{}
		}
		c.SecurityContext.RunAsUser = &f.user
	}
	if !f.set.Changed("port") {
		return nil
	}
	name, number, named := strings.Cut(f.port, ":")
	if !named {
		name, number = "", f.port
	}
	port, err := strconv.ParseInt(number, 10, 32)
	if err != nil || port < 1 || port > 65535 {
		return usage(fmt.Errorf("--port %q is no port: use 1 to 65535, or h2c:8080 for HTTP/2 without TLS", f.port))
	}
	c.Ports = []serving.ContainerPort{{Name: name, ContainerPort: int32(port)}}
	return nil
}

func (f *serviceFlags) applyPod(svc *serving.Service) error {
	spec := &svc.Spec.Template.Spec
	if f.set.Changed("runtime-class") {
		spec.RuntimeClassName = nil
		if f.runtimeClass != "" {
			spec.RuntimeClassName = &f.runtimeClass
		}
	}
	if f.set.Changed("service-account") {
		spec.ServiceAccountName = f.serviceAccount
	}
	if f.set.Changed("pull-secret") {
		spec.ImagePullSecrets = nil
		if f.pullSecret != "" {
			spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: f.pullSecret}}
		}
	}
	if f.set.Changed("concurrency-limit") {
		spec.ContainerConcurrency = f.concurrencyLimit
	}
	if f.set.Changed("timeout") {
		spec.TimeoutSeconds = f.timeout
	}
	return nil
}

func (f *serviceFlags) applyMetadata(svc *serving.Service) error {
	template := &svc.Spec.Template
	if f.set.Changed("revision-name") {
		template.Name = f.revisionName
	}
	if f.clusterLocal && f.noClusterLocal {
		return usage(errors.New("--cluster-local and --no-cluster-local cannot both be given"))
	}
	if f.clusterLocal {
		setKey(&svc.Labels, serving.VisibilityLabel, serving.VisibilityClusterLocal)
	}
	if f.noClusterLocal {
		delete(svc.Labels, serving.VisibilityLabel)
	}
	return errors.Join(
		edit("--label", f.label, &svc.Labels, &template.Labels),
		edit("--annotation", f.annotation, &svc.Annotations, &template.Annotations),
	)
}

// edit sets NAME=VALUE and removes NAME- in maps.
func edit(flag string, changes []string, maps ...*map[string]string) error {
	for _, change := range changes {
		name, value, isSet := strings.Cut(change, "=")
		removed, isRemoved := strings.CutSuffix(change, "-")
		switch {
		case isSet && name != "":
			for _, m := range maps {
				if flag == "--annotation" && strings.HasPrefix(name, autoscalingPrefix) && m == maps[0] && len(maps) > 1 {
					continue // these mean something on revisions only
				}
				setKey(m, name, value)
			}
		case isRemoved && removed != "":
			for _, m := range maps {
				delete(*m, removed)
			}
		default:
			return usage(fmt.Errorf("%s %q is neither NAME=VALUE nor NAME-", flag, change))
		}
	}
	return nil
}

func setKey(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[key] = value
}

func (f *serviceFlags) applyResources(c *serving.Container) error {
	return errors.Join(
		editResources("--request", f.request, &c.Resources.Requests),
		editResources("--limit", f.limit, &c.Resources.Limits),
	)
}

func editResources(flag string, changes []string, list *corev1.ResourceList) error {
	for _, change := range changes {
		name, value, isSet := strings.Cut(change, "=")
		if removed, ok := strings.CutSuffix(change, "-"); ok && !isSet {
			delete(*list, corev1.ResourceName(removed))
			continue
		}
		quantity, err := resource.ParseQuantity(value)
		if !isSet || err != nil {
			return usage(fmt.Errorf("%s %q is no amount of a resource: write cpu=100m or memory=64Mi", flag, change))
		}
		if *list == nil {
			*list = corev1.ResourceList{}
		}
		(*list)[corev1.ResourceName(name)] = quantity
	}
	return nil
}
