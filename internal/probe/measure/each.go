package measure

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/internal/sandbox"
)

// label is on every pod of a measurement.
const label = "redoubt.dev/probe"

// Each measures the classes that are wanted, on each node that offers them, and
// tells of each that is done. One that fails does not keep the others.
func (p Probe) Each(ctx context.Context, wanted func(*nodev1.RuntimeClass, *corev1.Node) bool, done func(class, node string)) error {
	classes, err := p.Cluster.NodeV1().RuntimeClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list runtime classes: %w", err)
	}
	nodes, err := p.Cluster.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	failures := make([]error, len(classes.Items))
	var all sync.WaitGroup
	for i, class := range classes.Items {
		all.Go(func() { // a class's annotation is written for one node after the other
			for _, node := range nodes.Items {
				if !sandbox.OffersHandler(&node, class.Handler) || !wanted(&class, &node) {
					continue
				}
				if err := p.Class(ctx, class.Name, &node); err != nil {
					failures[i] = errors.Join(failures[i], err)
				} else {
					done(class.Name, node.Name)
				}
			}
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

// CleanUp removes pods of measurements that were cut short. It must not be
// called while another one goes on.
func (p Probe) CleanUp(ctx context.Context) error {
	err := p.Cluster.CoreV1().Pods(Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: label})
	if err != nil {
		return fmt.Errorf("remove pods of an earlier measurement: %w", err)
	}
	return nil
}
