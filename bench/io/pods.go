package io

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/kube"
)

const (
	namespace = "default"
	port      = "8080"
	// patience is how long a pod may take to run, or to do its work once.
	patience = 2 * time.Minute
	// maxAnswer is the size of a worker's answer at most, in bytes.
	maxAnswer = 64 << 10
)

// pods are the workers, by class.
type pods struct {
	platform *platform.Platform
	of       map[string][]*pod
}

type pod struct{ name, address string }

// add makes pods of a class and waits until they run.
func (m *pods) add(ctx context.Context, class string, count int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := m.platform.Cluster.CoreV1().Pods(namespace)
	for range count {
		made, err := client.Create(ctx, platform.NewPod(class, worker.Name), metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("make pod: %w", err)
		}
		m.of[class] = append(m.of[class], &pod{name: made.Name})
	}
	for _, p := range m.of[class] {
		if err := p.await(ctx, m.platform); err != nil {
			return err
		}
	}
	return nil
}

// await waits until the pod runs and its server answers.
func (p *pod) await(ctx context.Context, of *platform.Platform) error {
	for {
		now, err := of.Cluster.CoreV1().Pods(namespace).Get(ctx, p.name, metav1.GetOptions{})
		if err == nil && kube.PodIs(now, corev1.PodReady) {
			p.address = now.Status.PodIP
			if conn, err := netns.Dial(ctx, of.Inst.NetNS(), "tcp", net.JoinHostPort(p.address, port)); err == nil {
				return conn.Close()
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("pod %s does not run within %v; see its events", p.name, patience)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ask has the worker do something and returns what it took, in milliseconds.
func (p *pod) ask(ctx context.Context, of *platform.Platform, what string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(p.address, port)+what, nil)
	if err != nil {
		return nil, err
	}
	resp, err := of.Inside().Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask pod %s: %w", p.name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	took := map[string]float64{}
	if err == nil {
		err = json.Unmarshal(body, &took)
	}
	if err != nil {
		return nil, fmt.Errorf("ask pod %s for %s: %w", p.name, what, err)
	}
	return took, nil
}

func (m *pods) remove(ctx context.Context) error {
	var errs []error
	for _, list := range m.of {
		for _, p := range list {
			errs = append(errs, m.platform.Cluster.CoreV1().Pods(namespace).Delete(ctx, p.name, metav1.DeleteOptions{}))
		}
	}
	return errors.Join(errs...)
}
