package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/image/store"
	"redoubt.dev/redoubt/internal/kube"
)

// Ensure puts an image into the node's store.
func (p *Platform) Ensure(ctx context.Context, program image.Recipe) error {
	images, err := store.Open(ctx, p.Inst.ContainerdSocket())
	if err != nil {
		return err
	}
	defer images.Close()
	return image.Ensure(ctx, images, program, func(string) {})
}

// Services is a client that knows the kinds of serving, and functions.
func (p *Platform) Services() (client.Client, error) {
	cfg, err := kube.Config(p.Inst.Kubeconfig(), "redoubt-bench")
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(serving.AddToScheme(scheme), kubeless.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	return client.New(cfg, client.Options{Scheme: scheme})
}

// NewService is a service in the namespace default, with one container and its
// template's annotations.
func NewService(name, class, image string, annotations map[string]string) *serving.Service {
	s := &serving.Service{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name}}
	s.Spec.Template.Annotations = annotations
	s.Spec.Template.Spec.RuntimeClassName = &class
	s.Spec.Template.Spec.Containers = []serving.Container{{Image: image, ImagePullPolicy: corev1.PullNever}}
	return s
}

// Request asks a service through the gateway, and says how long the whole
// answer took. One that is not 200 is an error.
func (p *Platform) Request(ctx context.Context, client *http.Client, namespace, service string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d", p.State.HTTPPort), nil)
	if err != nil {
		return 0, err
	}
	req.Host = service + "." + namespace + ".localhost"
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	took := time.Since(began)
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", req.Host, resp.Status)
	}
	return took, errors.Join(err, resp.Body.Close())
}
