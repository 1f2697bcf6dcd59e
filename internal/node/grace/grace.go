// Package grace cuts the time short that pods have for their end, where the
// container runtime asks nobody because of them.
//
// containerd takes on a plugin only while no container is being stopped, and
// starts nothing as long as one waits to be taken on. A node role that is started
// again while a pod with minutes of grace ends would leave its node without new
// pods for minutes. So pods that are being deleted are killed when it has waited
// for a while. Not for use where nothing waits.
package grace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"redoubt.dev/redoubt/internal/cri"
)

const (
	// patience is how long is waited before pods are killed.
	patience = 10 * time.Second
	// look is how often it is looked whether somebody waits.
	look = time.Second
	// runtimeNamespace is containerd's for the kubelet's containers.
	runtimeNamespace = "k8s.io"
	// podLabel has a container's pod in the CRI.
	podLabel = "io.kubernetes.pod.uid"
)

// Options say what is watched.
type Options struct {
	Client   kubernetes.Interface
	NodeName string
	// CRI is containerd's socket.
	CRI string
	// Asked says whether the container runtime has taken on all who wait.
	Asked func() bool
}

// Cut watches until ctx ends.
func Cut(ctx context.Context, o Options) error {
	containers, conn, err := cri.Connect(o.CRI)
	if err != nil {
		return err
	}
	defer conn.Close()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	since := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			if o.Asked() {
				since = now
			} else if now.Sub(since) >= patience {
				if err := o.kill(ctx, containers, tasks.NewTasksClient(conn)); err != nil && ctx.Err() == nil {
					slog.Error("end pods that keep others from starting", "error", err)
				}
			}
		}
	}
}

// kill ends the containers of pods that are being deleted.
func (o *Options) kill(ctx context.Context, containers runtime.RuntimeServiceClient, killer tasks.TasksClient) error {
	pods, err := o.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", o.NodeName).String()})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	ending := map[string]*corev1.Pod{}
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.DeletionTimestamp != nil {
			ending[string(pod.UID)] = pod
		}
	}
	list, err := containers.ListContainers(ctx, &runtime.ListContainersRequest{
		Filter: &runtime.ContainerFilter{State: &runtime.ContainerStateValue{State: runtime.ContainerState_CONTAINER_RUNNING}},
	})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var errs []error
	for _, c := range list.Containers {
		pod := ending[c.Labels[podLabel]]
		if pod == nil {
			continue
		}
		slog.Warn("a pod that ends slowly keeps all others from starting, and is killed", "pod", pod.Namespace+"/"+pod.Name, "container", c.Metadata.Name)
		_, err := killer.Kill(namespaces.WithNamespace(ctx, runtimeNamespace), &tasks.KillRequest{ContainerID: c.Id, Signal: uint32(unix.SIGKILL), All: true})
		if err != nil && status.Code(err) != codes.NotFound {
			errs = append(errs, fmt.Errorf("kill container %s of pod %s/%s: %w", c.Metadata.Name, pod.Namespace, pod.Name, err))
		}
	}
	return errors.Join(errs...)
}
