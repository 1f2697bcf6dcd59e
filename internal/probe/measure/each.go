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
// tells of each that is done. What pods can do is tried in all classes at the
// same time; how fast they are, in one after the other. A class that fails does
// not keep the others.
func (p Probe) Each(ctx context.Context, wanted func(*nodev1.RuntimeClass, *corev1.Node) bool, done func(class, node string)) error {
	measurements, err := p.wanted(ctx, wanted)
	if err != nil {
		return err
	}
	var (
		all     sync.WaitGroup
		writing sync.Mutex // a class's annotation has all of its nodes
	)
	for _, m := range measurements {
		all.Go(func() {
			if m.Measured, m.failed = p.within(ctx, m.class, m.node); m.failed != nil {
				return
			}
			writing.Lock() // admission goes by it: it does not wait for the rest
			defer writing.Unlock()
			m.failed = p.write(ctx, m.class.Name, m.node.Name, m.Measured)
		})
	}
	all.Wait()
	for _, m := range measurements {
		if m.failed == nil {
			m.failed = p.beside(ctx, m.class.Name, m.node, &m.Measured)
		}
		if m.failed == nil {
			m.failed = p.write(ctx, m.class.Name, m.node.Name, m.Measured)
		}
	}
	var failed error
	for _, m := range measurements {
		if m.failed != nil {
			failed = errors.Join(failed, fmt.Errorf("measure class %s on node %s: %w", m.class.Name, m.node.Name, m.failed))
		} else {
			done(m.class.Name, m.node.Name)
		}
	}
	return failed
}

// measurement is that of a class on a node.
type measurement struct {
	class *nodev1.RuntimeClass
	node  *corev1.Node
	Measured
	failed error
}

func (p Probe) wanted(ctx context.Context, wanted func(*nodev1.RuntimeClass, *corev1.Node) bool) ([]*measurement, error) {
	classes, err := p.Cluster.NodeV1().RuntimeClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list runtime classes: %w", err)
	}
	nodes, err := p.Cluster.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var all []*measurement
	for i := range classes.Items {
		for j := range nodes.Items {
			class, node := &classes.Items[i], &nodes.Items[j]
			if sandbox.OffersHandler(node, class.Handler) && wanted(class, node) {
				all = append(all, &measurement{class: class, node: node})
			}
		}
	}
	return all, nil
}

// CleanUp removes what measurements left that were cut short. It must not be
// called while another one goes on.
func (p Probe) CleanUp(ctx context.Context) error {
	err := p.Cluster.CoreV1().Pods(Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: label})
	if err = errors.Join(err, p.removeServices(ctx)); err != nil {
		return fmt.Errorf("remove what an earlier measurement left: %w", err)
	}
	return nil
}
