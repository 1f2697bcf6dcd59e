package platform

import (
	"context"
	"net"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/internal/cluster/netns"
)

// NewPod is a pod of a class with one container of an image that the node has. It
// gets nothing that it does not need, and goes at once when it is deleted.
func NewPod(class, image string) *corev1.Pod {
	no, grace := false, int64(0)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"},
		Spec: corev1.PodSpec{
			RuntimeClassName:              &class,
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			TerminationGracePeriodSeconds: &grace,
			Containers:                    []corev1.Container{{Name: "app", Image: image, ImagePullPolicy: corev1.PullNever}},
		},
	}
}

// Inside is a client of what listens in the instance's network. Each of its requests
// has a connection of its own.
func (p *Platform) Inside() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return netns.Dial(ctx, p.Inst.NetNS(), network, address)
		},
	}}
}
