package cluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	containerd "github.com/containerd/containerd/v2/client"
	"redoubt.dev/redoubt/config"
	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/manifest"
)

// pollInterval is short because most of these waits end within a second.
const pollInterval = 50 * time.Millisecond

// containerdReady also brings the pause image and the kubelet, which stops
// when it finds no runtime.
func (b *boot) containerdReady(ctx context.Context) error {
	client, err := containerd.New(b.inst.ContainerdSocket(), containerd.WithDefaultNamespace("k8s.io"))
	if err != nil {
		return fmt.Errorf("connect to containerd: %w", err)
	}
	defer client.Close()
	err = poll(ctx, func() error {
		serving, err := client.IsServing(ctx)
		if err == nil && !serving {
			err = fmt.Errorf("not serving yet")
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := image.EnsurePause(ctx, client, b.engine, PauseImage); err != nil {
		return err
	}
	return b.supervisor.Start(b.kubelet())
}

func (b *boot) apiServerReady(ctx context.Context) error {
	if err := b.apiServerAnswers(ctx); err != nil {
		return err
	}
	// These end, or wait for long, when they find no API server.
	return b.startAll(b.scheduler(), b.proxy(), b.coreDNS(), b.metricsServer())
}

func (b *boot) apiServerAnswers(ctx context.Context) error {
	client, err := b.admin()
	if err != nil {
		return err
	}
	return poll(ctx, func() error {
		return client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// apply also brings the controller manager, which counts what quotas bound and
// collects what nobody owns. It asks for all kinds when it starts, and again each
// half minute only: until then, tenants could make nothing of those that are new.
func (b *boot) apply(ctx context.Context) error {
	cfg, err := b.adminConfig()
	if err != nil {
		return err
	}
	addons, err := b.addons()
	if err != nil {
		return err
	}
	docs := [][]byte{addons}
	if !b.opts.Bare {
		ours, err := config.Documents()
		if err != nil {
			return err
		}
		hardening, err := b.hardening()
		if err != nil {
			return err
		}
		docs = append(append(docs, ours...), hardening)
	}
	if err := manifest.Apply(ctx, cfg, docs); err != nil {
		return err
	}
	return b.supervisor.Start(b.controllerManager())
}

func (b *boot) nodeReady(ctx context.Context) error {
	client, err := b.admin()
	if err != nil {
		return err
	}
	return poll(ctx, func() error {
		node, err := client.CoreV1().Nodes().Get(ctx, b.inst.NodeName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
				return fmt.Errorf("node %s: %s", node.Name, c.Message)
			}
			if c.Type == corev1.NodeReady {
				return nil
			}
		}
		return fmt.Errorf("node %s says nothing of its readiness", node.Name)
	})
}

// podsAccepted waits until a user could create a pod: it has its namespace's
// service account, which the controller manager makes.
func (b *boot) podsAccepted(ctx context.Context) error {
	client, err := b.admin()
	if err != nil {
		return err
	}
	return poll(ctx, func() error {
		namespaces, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		accounts, err := client.CoreV1().ServiceAccounts("").List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=default"})
		if err != nil {
			return err
		}
		has := map[string]bool{}
		for _, a := range accounts.Items {
			has[a.Namespace] = true
		}
		for _, ns := range namespaces.Items {
			if !has[ns.Name] && ns.DeletionTimestamp == nil {
				return fmt.Errorf("namespace %s has no service account yet", ns.Name)
			}
		}
		return nil
	})
}

func (b *boot) admin() (kubernetes.Interface, error) {
	cfg, err := b.adminConfig()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(cfg)
}

func (b *boot) adminConfig() (*rest.Config, error) {
	return kube.Config(b.inst.Kubeconfig(), "redoubt-up")
}

// poll calls f until it succeeds. When ctx ends first, the error is f's last.
func poll(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(pollInterval):
		}
	}
}
