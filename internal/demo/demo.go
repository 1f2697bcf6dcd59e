// Package demo shows the talk's three workloads on a running instance, each
// in every sandbox class that its node offers: a Pod, a Knative Service and a
// Kubeless function.
//
// It does what a presenter would, with the commands that a presenter would
// type, and shows them. What an earlier demo left is removed at the start;
// what this one makes stays to be looked at, unless it is interrupted.
//
// What is timed happens alone, one class after the other. The rest overlaps:
// services are deployed before the show, all at once, and while the first act
// is on they have no requests and go to zero.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"redoubt.dev/redoubt/docs/examples"
	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/image/store"
	"redoubt.dev/redoubt/internal/instance"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/runtimes"
)

// Options are what a user may choose.
type Options struct {
	// Class is the only one to show; empty means all that the node offers.
	Class string
	// Out gets the show.
	Out io.Writer
}

// demo is one show.
type demo struct {
	stage   stage
	inst    instance.Instance
	port    int // of the gateway
	cluster kubernetes.Interface
	classes []class
	results []result
}

// result is a row of the closing table. A time of zero is not shown.
type result struct {
	workload   string
	class      class
	cold, warm time.Duration
}

// Run gives the show on a running instance.
func Run(ctx context.Context, inst instance.Instance, opts Options) error {
	d, err := prepare(ctx, inst, opts)
	if err != nil {
		return err
	}
	d.stage.say("Redoubt's demo on instance %q, in the classes %s.", inst.Name, strings.Join(d.names(), ", "))
	d.stage.say("All of it can be repeated by hand, after:\n")
	d.stage.say("$ export KUBECONFIG=%s PATH=%s:$PATH", inst.Kubeconfig(), d.stage.path)
	d.stage.say("$ cd %s", d.stage.dir)
	err = d.show(ctx)
	if ctx.Err() != nil {
		return errors.Join(errors.New("interrupted"), d.leave(context.WithoutCancel(ctx)))
	}
	if err != nil {
		return fmt.Errorf("%w\nLook with: redoubt kubectl%s get pods,events; redoubt doctor", err, d.stage.flags())
	}
	return d.close()
}

func prepare(ctx context.Context, inst instance.Instance, opts Options) (*demo, error) {
	state, err := inst.LoadState()
	if err != nil {
		return nil, err
	}
	if state.Bare {
		return nil, fmt.Errorf("instance %q was booted with --bare and has no gateway; boot it without", inst.Name)
	}
	cfg, err := kube.Config(inst.Kubeconfig(), "redoubt-demo")
	if err != nil {
		return nil, err
	}
	cluster, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	d := &demo{inst: inst, port: state.HTTPPort, cluster: cluster}
	if d.classes, err = offered(ctx, cluster, opts.Class); err != nil {
		return nil, err
	}
	d.stage, err = newStage(inst, opts.Out)
	return d, err
}

func (d *demo) names() []string {
	names := make([]string, len(d.classes))
	for i, c := range d.classes {
		names[i] = c.Name
	}
	return names
}

// show is the programme.
func (d *demo) show(ctx context.Context) error {
	d.stage.title("Before the show")
	for _, act := range []func(context.Context) error{d.setUp, d.deployServices, d.pods, d.services, d.functions} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// setUp brings the instance to where the show begins.
func (d *demo) setUp(ctx context.Context) error {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return d.clear(ctx) })
	both.Go(func() error { return d.images(ctx) })
	if err := both.Wait(); err != nil {
		return err
	}
	d.stage.note("nothing is left of an earlier demo, and the images are in the node's store")
	return d.files()
}

// images puts the demo's three into the node's store, where they stay.
func (d *demo) images(ctx context.Context) error {
	images, err := store.Open(ctx, d.inst.ContainerdSocket())
	if err != nil {
		return err
	}
	defer images.Close()
	lang, err := runtimes.Get(language)
	if err != nil {
		return err
	}
	forFunctions, err := image.Runtime(lang)
	if err != nil {
		return err
	}
	for _, recipe := range []image.Recipe{image.Busybox(), image.HelloWorld(), forFunctions} {
		progress := func(step string) { d.stage.note("%s: %s", recipe.Name, step) }
		if err := image.Ensure(ctx, images, recipe, progress); err != nil {
			return err
		}
	}
	return nil
}

// files writes what the commands apply, one file per class.
func (d *demo) files() error {
	if err := os.MkdirAll(d.stage.dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	texts := map[string]string{"test.py": examples.Function}
	for _, c := range d.classes {
		texts[podName(c)+".yaml"] = examples.InClass(examples.Pod, podName(c), c.Name)
		texts[serviceName(c)+".yaml"] = examples.InClass(examples.Service, serviceName(c), c.Name)
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(d.stage.dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write example: %w", err)
		}
	}
	d.stage.note("the files to apply are in %s", d.stage.dir)
	return nil
}

// clear removes what an earlier demo left.
func (d *demo) clear(ctx context.Context) error {
	if err := d.remove(ctx); err != nil {
		return fmt.Errorf("remove what an earlier demo left: %w", err)
	}
	return nil
}

// leave removes what was made, after an interruption.
func (d *demo) leave(ctx context.Context) error {
	const patience = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.remove(ctx); err != nil {
		return fmt.Errorf("remove what the demo made: %w", err)
	}
	d.stage.say("\nInterrupted: what the demo made is removed.")
	return nil
}

// remove deletes the demo's objects by name: nothing else can be hit. It
// waits for what they own, or a new function would meet the old one's service.
func (d *demo) remove(ctx context.Context) error {
	args := []string{"delete", "--ignore-not-found", "--cascade=foreground", "--grace-period=1"}
	for _, c := range d.classes {
		args = append(args, "pods/"+podName(c), "services.serving.knative.dev/"+serviceName(c), "functions.kubeless.io/"+functionName(c))
	}
	_, err := d.stage.quietly(ctx, "kubectl", args...)
	return err
}

func (d *demo) address(host string) string {
	return "http://" + net.JoinHostPort(host, fmt.Sprint(d.port))
}
