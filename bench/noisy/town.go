package noisy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/image/build"
	"redoubt.dev/redoubt/internal/kube"
)

// The tenants, and their namespaces.
const (
	quiet = "bench-quiet"
	noisy = "bench-noisy"
)

// shell is an image of the machine's busybox.
var shell = image.Recipe{
	Name: "localhost/redoubt-bench/shell:latest",
	Key:  "bench-shell-1",
	Make: func(context.Context, build.Progress) (*build.Image, error) {
		return build.Binary("/usr/bin/busybox", build.Contents{Settings: ocispec.ImageConfig{}})
	},
}

// town is where both tenants live.
type town struct {
	cluster  client.Client
	http     *http.Client
	platform *platform.Platform
}

// settle makes the tenants and their services, and waits until both answer.
func settle(ctx context.Context, p *platform.Platform) (*town, error) {
	t := &town{http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: patience}, platform: p}
	web := image.HelloWorld()
	if err := errors.Join(p.Ensure(ctx, web), p.Ensure(ctx, shell)); err != nil {
		return nil, err
	}
	cfg, err := kube.Config(p.Inst.Kubeconfig(), "redoubt-bench")
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), redoubt.AddToScheme(scheme), serving.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	if t.cluster, err = client.New(cfg, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	for _, tenant := range []string{quiet, noisy} {
		if err := t.admit(ctx, tenant); err != nil {
			return nil, err
		}
		if err := t.eventually(ctx, tenant+"'s service", func() error { return t.cluster.Create(ctx, service(tenant, "web", web.Name, "1")) }); err != nil {
			return nil, err
		}
	}
	for n := range colds {
		if err := t.cluster.Create(ctx, service(noisy, cold(n), web.Name, "0")); err != nil {
			return nil, err
		}
	}
	for _, tenant := range []string{quiet, noisy} {
		if err := t.eventually(ctx, tenant+"'s answer", func() error { _, err := t.request(ctx, tenant, "web"); return err }); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// admit makes a tenant with room for all of its services, and with what an owner would
// let it send.
func (t *town) admit(ctx context.Context, name string) error {
	pods, requests, starts := int64(30), int64(200), int64(2)
	cpu, memory := resource.MustParse("16"), resource.MustParse("4Gi")
	spec := redoubt.TenantSpec{Floor: "process", DefaultClass: "runc", Quota: redoubt.TenantQuota{CPU: &cpu, Memory: &memory, Pods: &pods}}
	spec.Gateway.RequestsPerSecond, spec.Gateway.ColdStarts = &requests, &starts
	return errors.Join(
		t.cluster.Create(ctx, &redoubt.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}),
		t.cluster.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{redoubt.TenantLabel: name}}}))
}

func service(namespace, name, image, minScale string) *serving.Service {
	s := &serving.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	s.Spec.Template.Annotations = map[string]string{
		serving.MinScaleAnnotation: minScale, serving.MaxScaleAnnotation: "1", serving.FreezeAnnotation: serving.FreezeNever, serving.WindowAnnotation: "6s",
	}
	s.Spec.Template.Spec.Containers = []serving.Container{{Image: image, ImagePullPolicy: corev1.PullNever, SecurityContext: restricted()}}
	return s
}

// restricted is what the Pod Security level of that name wants.
func restricted() *corev1.SecurityContext {
	yes, no, user := true, false, int64(1000)
	return &corev1.SecurityContext{
		RunAsNonRoot: &yes, RunAsUser: &user, AllowPrivilegeEscalation: &no,
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// run starts a pod of the noisy tenant; end removes it.
func (t *town) run(ctx context.Context, script string) (end func() error, err error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: noisy, GenerateName: "flood-"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "flood", Image: shell.Name, ImagePullPolicy: corev1.PullNever, Command: []string{"/busybox", "sh", "-c", script},
				SecurityContext: restricted(), VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
			}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		},
	}
	if err := t.cluster.Create(ctx, pod); err != nil {
		return nil, err
	}
	err = t.eventually(ctx, "flood", func() error {
		if err := t.cluster.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil || pod.Status.Phase == corev1.PodRunning {
			return err
		}
		return fmt.Errorf("its pod is %s", pod.Status.Phase)
	})
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := t.cluster.Delete(ctx, pod, client.GracePeriodSeconds(0)); err != nil {
			return err
		}
		return t.eventually(ctx, "end of the flood", func() error {
			if err := t.cluster.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
				return client.IgnoreNotFound(err)
			}
			return errors.New("its pod is still there")
		})
	}, err
}

// rests says that the noisy tenant has no pod but the one that always runs.
func (t *town) rests(ctx context.Context) error {
	var pods corev1.PodList
	if err := t.cluster.List(ctx, &pods, client.InNamespace(noisy)); err != nil {
		return err
	}
	if n := len(pods.Items); n > 1 {
		return fmt.Errorf("it has %d pods", n)
	}
	return nil
}

// request asks a tenant's service, and says how long it took in milliseconds.
func (t *town) request(ctx context.Context, tenant, name string) (float64, error) {
	took, err := t.platform.Request(ctx, t.http, tenant, name)
	return float64(took) / float64(time.Millisecond), err
}

func (t *town) eventually(ctx context.Context, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v: %w", what, patience, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// leave removes the namespaces; their tenants may go when those have gone, with
// the instance.
func (t *town) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	for _, tenant := range []string{quiet, noisy} {
		errs = append(errs, t.cluster.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}}))
	}
	return errors.Join(errs...)
}
