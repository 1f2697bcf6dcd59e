// Package cri asks a node's container runtime, through the Kubernetes
// Container Runtime Interface, for what no other interface tells.
package cri

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Connect opens the runtime service at a unix socket; close the connection
// when done with it. No traffic happens before the first call.
func Connect(socket string) (runtime.RuntimeServiceClient, *grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to container runtime: %w", err)
	}
	return runtime.NewRuntimeServiceClient(conn), conn, nil
}

// StopAll stops and removes every pod of the node, all at once. Containers
// get grace to end by themselves.
func StopAll(ctx context.Context, socket string, grace time.Duration) error {
	client, conn, err := Connect(socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	containers, err := client.ListContainers(ctx, &runtime.ListContainersRequest{})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	err = each(containers.Containers, func(c *runtime.Container) error {
		_, err := client.StopContainer(ctx, &runtime.StopContainerRequest{ContainerId: c.Id, Timeout: int64(grace.Seconds())})
		return err
	})
	pods, listErr := client.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{})
	if listErr != nil {
		return errors.Join(err, fmt.Errorf("list pods: %w", listErr))
	}
	return errors.Join(err, each(pods.Items, func(p *runtime.PodSandbox) error {
		if _, err := client.StopPodSandbox(ctx, &runtime.StopPodSandboxRequest{PodSandboxId: p.Id}); err != nil {
			return err
		}
		_, err := client.RemovePodSandbox(ctx, &runtime.RemovePodSandboxRequest{PodSandboxId: p.Id})
		return err
	}))
}

// each runs f for all items at once and joins the errors.
func each[T any](items []T, f func(T) error) error {
	errs := make([]error, len(items))
	var all sync.WaitGroup
	for i, item := range items {
		all.Go(func() { errs[i] = f(item) })
	}
	all.Wait()
	return errors.Join(errs...)
}
