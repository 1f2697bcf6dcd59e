package function

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/runtimes/source"
)

const (
	// buildTime is how long a build may take.
	buildTime = 15 * time.Minute
	// retryBuild is how long a build that failed can be looked at before it is
	// made again.
	retryBuild = 10 * time.Minute
)

// What a build may take. The result is bounded by the node.
var (
	buildMemory = resource.MustParse("1Gi")
	buildDisk   = resource.MustParse("2Gi")
)

// built is an image with what was built for a function, and the node that has
// it. The zero value is that nothing was to be built.
type built struct{ image, host string }

// on adds to a node selector where the image is.
func (b built) on(selector map[string]string) map[string]string {
	if b.host == "" {
		return selector
	}
	all := map[string]string{}
	maps.Copy(all, selector)
	all[corev1.LabelHostname] = b.host
	return all
}

// build returns what was built by p, or an *unfinished: then it has been begun.
func (r *reconciler) build(ctx context.Context, fn *kubeless.Function, p *plan, code code) (built, error) {
	made := built{image: kubeless.BuiltImage(fn.Namespace, p.key)}
	pods, err := r.buildPods(ctx, fn)
	if err != nil {
		return built{}, err
	}
	for i := range pods {
		pod := &pods[i]
		if pod.Labels[kubeless.BuildLabel] != p.key || overdue(pod) {
			if err := r.client.Delete(ctx, pod); client.IgnoreNotFound(err) != nil {
				return built{}, fmt.Errorf("delete build %s: %w", pod.Name, err)
			}
			continue
		}
		if state := judge(pod); state != nil {
			return built{}, r.lacking(ctx, pod, state)
		}
		made.host, err = r.host(ctx, pod.Spec.NodeName)
		return made, err
	}
	if made.host, err = r.shared(ctx, fn, made.image); err != nil || made.host != "" {
		return made, err
	}
	pod := buildPod(fn, p, code)
	if err := controllerutil.SetControllerReference(fn, pod, r.client.Scheme()); err != nil {
		return built{}, err
	}
	// Where it is there already, the cache has not seen it, or not seen it go.
	if err := r.client.Create(ctx, pod); err != nil && !apierrors.IsAlreadyExists(err) {
		return built{}, fmt.Errorf("begin build: %w", err)
	}
	return built{}, &unfinished{reason: "Building", message: "the build begins"}
}

// tidy removes the builds of a function that is ready.
func (r *reconciler) tidy(ctx context.Context, fn *kubeless.Function) error {
	pods, err := r.buildPods(ctx, fn)
	for i := range pods {
		if err := r.client.Delete(ctx, &pods[i]); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return err
}

// buildPods are those of fn that are not being deleted.
func (r *reconciler) buildPods(ctx context.Context, fn *kubeless.Function) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := r.builds.List(ctx, &list, client.InNamespace(fn.Namespace), client.MatchingLabels{kubeless.FunctionLabel: fn.Name})
	var pods []corev1.Pod
	for _, pod := range list.Items {
		if metav1.IsControlledBy(&pod, fn) && pod.DeletionTimestamp == nil {
			pods = append(pods, pod)
		}
	}
	return pods, err
}

// shared finds the host that has an image already, for this function or another
// of its namespace. One that this function's instances miss is no longer there.
func (r *reconciler) shared(ctx context.Context, fn *kubeless.Function, image string) (string, error) {
	var services serving.ServiceList
	if err := r.client.List(ctx, &services, client.InNamespace(fn.Namespace), client.HasLabels{kubeless.FunctionLabel}); err != nil {
		return "", err
	}
	host := ""
	for _, svc := range services.Items {
		containers := svc.Spec.Template.Spec.Containers
		if len(containers) != 1 || containers[0].Image != image {
			continue
		}
		if svc.Name == fn.Name && svc.Status.Conditions.Get(serving.Ready).Status != corev1.ConditionTrue && r.missing(ctx, &svc, image) {
			return "", nil
		}
		host = svc.Spec.Template.Spec.NodeSelector[corev1.LabelHostname]
	}
	return host, nil
}

// missing says whether a node has not the image of the service's newest revision.
func (r *reconciler) missing(ctx context.Context, svc *serving.Service, image string) bool {
	var rev serving.Revision
	key := client.ObjectKey{Namespace: svc.Namespace, Name: svc.Status.LatestCreatedRevisionName}
	if err := r.client.Get(ctx, key, &rev); err != nil || len(rev.Spec.Containers) != 1 || rev.Spec.Containers[0].Image != image {
		return false
	}
	return rev.Status.Conditions.Get(serving.ContainerHealthy).Reason == "ContainerMissing"
}

// host is the label by which pods are led to a node.
func (r *reconciler) host(ctx context.Context, name string) (string, error) {
	var node corev1.Node
	if err := r.client.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
		return "", fmt.Errorf("look up the node that built: %w", err)
	}
	return node.Labels[corev1.LabelHostname], nil
}

// buildPod runs the build in a sandbox as the function's own.
func buildPod(fn *kubeless.Function, p *plan, code code) *corev1.Pod {
	custom := fn.Spec.Deployment.Spec.Template.Spec
	seconds, no := int64(buildTime.Seconds()), false
	env := slices.Concat(Contract(fn), p.env, code.parts.env())
	volumes, mounts := code.volumes(), code.mounts()
	if code.parts != nil {
		volumes = []corev1.Volume{code.parts.volume()}
		mounts = []corev1.VolumeMount{{Name: SourceVolume, MountPath: source.PartsFolder, ReadOnly: true}}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fn.Namespace, Name: fn.Name + "-build-" + p.key[:8],
			Labels: map[string]string{
				kubeless.FunctionLabel: fn.Name, kubeless.BuildLabel: p.key, kubeless.BuildRuntimeLabel: fn.Spec.Runtime,
			},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                corev1.RestartPolicyNever,
			ActiveDeadlineSeconds:        &seconds,
			RuntimeClassName:             fn.Spec.RuntimeClassName,
			ServiceAccountName:           custom.ServiceAccountName,
			AutomountServiceAccountToken: &no,
			EnableServiceLinks:           &no,
			NodeSelector:                 custom.NodeSelector,
			SecurityContext:              unprivileged(),
			Volumes:                      volumes,
			Containers: []corev1.Container{{
				Name:                     "build",
				Image:                    p.build.Image,
				ImagePullPolicy:          corev1.PullIfNotPresent,
				Env:                      env,
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
				Resources: corev1.ResourceRequirements{
					Limits:   corev1.ResourceList{corev1.ResourceMemory: buildMemory, corev1.ResourceEphemeralStorage: buildDisk},
					Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi"), corev1.ResourceEphemeralStorage: resource.MustParse("64Mi")},
				},
				Ports:           []corev1.ContainerPort{{ContainerPort: kubeless.BuildPort}},
				ReadinessProbe:  finished(),
				VolumeMounts:    mounts,
				SecurityContext: confined(),
			}},
		},
	}
}

// finished is when the build listens, to hand the result over.
func finished() *corev1.Probe {
	return &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(kubeless.BuildPort)}}}
}
