package cli

import (
	"context"
	"io"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
)

// buildOutput prints what a function's builds write, while they do.
type buildOutput struct {
	clients  kubernetes.Interface
	out      *lineWriter
	followed map[string]bool // pods, by name
	copying  sync.WaitGroup
}

func newBuildOutput(c *connection, out io.Writer) (*buildOutput, error) {
	clients, err := kubernetes.NewForConfig(c.config)
	return &buildOutput{clients: clients, out: &lineWriter{out: out}, followed: map[string]bool{}}, err
}

// follow begins to print what the builds of fn write that have begun since. Who
// may not read it sees the end of it in the function's status.
func (b *buildOutput) follow(ctx context.Context, c *connection, fn *kubeless.Function) {
	var pods corev1.PodList
	if c.List(ctx, &pods, client.InNamespace(fn.Namespace), client.HasLabels{kubeless.BuildLabel}, client.MatchingLabels{kubeless.FunctionLabel: fn.Name}) != nil {
		return
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodPending || b.followed[pod.Name] {
			continue
		}
		b.followed[pod.Name] = true
		b.copying.Go(func() { _ = (&logFlags{follow: true, tail: -1}).copy(ctx, b.clients, &pod, b.out) })
	}
}
