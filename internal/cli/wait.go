package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// waitFlags say whether and how long a command waits for what it asked for.
type waitFlags struct {
	wait, noWait    bool
	timeout, window int // seconds
}

func (w *waitFlags) register(cmd *cobra.Command, byDefault bool) {
	w.registerLimits(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&w.wait, "wait", byDefault, "return when it is done")
	flags.BoolVar(&w.noWait, "no-wait", !byDefault, "return at once")
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case flags.Changed("wait") && flags.Changed("no-wait") && w.wait == w.noWait:
			return usage(errors.New("--wait and --no-wait cannot both be given"))
		case flags.Changed("no-wait"):
			w.wait = !w.noWait
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
}

func (w *waitFlags) registerLimits(cmd *cobra.Command) {
	cmd.Flags().IntVar(&w.timeout, "wait-timeout", 600, "seconds to wait at most")
	cmd.Flags().IntVar(&w.window, "wait-window", 2, "seconds that a failure must last to count")
}

// ready follows svc until it is ready, prints what it says of itself
// meanwhile, and returns it as it is then. The error is that of a failure
// that lasted, or that the time is over.
func (w *waitFlags) ready(cmd *cobra.Command, c *connection, svc *serving.Service) (*serving.Service, error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(w.timeout)*time.Second)
	defer cancel()
	p := &progress{out: cmd.ErrOrStderr(), start: time.Now()}
	failed := newFailure(time.Duration(w.window) * time.Second)
	for {
		watcher, err := c.Watch(ctx, &serving.ServiceList{}, &client.ListOptions{
			Namespace:     svc.Namespace,
			FieldSelector: fields.OneTermEqualSelector("metadata.name", svc.Name),
			Raw:           &metav1.ListOptions{ResourceVersion: "0"},
		})
		if err != nil {
			return nil, w.late(ctx, svc, p, fmt.Errorf("watch service %s: %w", svc.Name, err))
		}
		done, err := w.follow(ctx, watcher, svc, p, failed)
		watcher.Stop()
		if done != nil || err != nil {
			return done, w.late(ctx, svc, p, err)
		}
	}
}

// late replaces err where it comes from the end of the waiting time, or of the
// user's patience.
func (w *waitFlags) late(ctx context.Context, svc *serving.Service, p *progress, err error) error {
	switch {
	case err == nil || ctx.Err() == nil:
		return err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("timeout: service '%s' not ready after %d seconds%s; see: redoubt service describe %s", svc.Name, w.timeout, p.why(), svc.Name)
	}
	return fmt.Errorf("interrupted while waiting for service '%s', which stays; see: redoubt service describe %s", svc.Name, svc.Name)
}

// follow reads one watch; it returns neither a service nor an error when the
// watch ends by itself.
func (w *waitFlags) follow(ctx context.Context, watcher watch.Interface, svc *serving.Service, p *progress, failed *failure) (*serving.Service, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-failed.final():
			return nil, failed.err
		case event, ok := <-watcher.ResultChan():
			if !ok || event.Type == watch.Error {
				return nil, nil
			}
			now, isService := event.Object.(*serving.Service)
			if event.Type == watch.Deleted {
				return nil, fmt.Errorf("service '%s' was deleted", svc.Name)
			}
			if !isService || now.Generation < svc.Generation || now.Status.ObservedGeneration != now.Generation {
				continue
			}
			condition := now.Status.Conditions.Get(serving.Ready)
			switch condition.Status {
			case corev1.ConditionTrue:
				p.say("Ready to serve.")
				return now, nil
			case corev1.ConditionFalse:
				failed.begin(fmt.Errorf("%s: %s", condition.Reason, condition.Message))
			default:
				failed.clear()
			}
			if condition.Message != "" {
				p.say(condition.Message)
			}
		}
	}
}

// failure is an error that counts only once it has lasted.
type failure struct {
	window time.Duration
	timer  *time.Timer
	err    error
}

func newFailure(window time.Duration) *failure { return &failure{window: window} }

func (f *failure) begin(err error) {
	f.err = err
	if f.timer == nil {
		f.timer = time.NewTimer(f.window)
	}
}

func (f *failure) clear() { f.timer = nil }

func (f *failure) final() <-chan time.Time {
	if f.timer == nil {
		return nil
	}
	return f.timer.C
}

// progress prints lines with the time since the start, as kn does: a message
// that repeats is three dots.
type progress struct {
	out   io.Writer
	start time.Time
	last  string
}

func (p *progress) say(message string) {
	text := message
	if message == p.last {
		text = "..."
	}
	p.last = message
	fmt.Fprintf(p.out, "%7.3fs %s\n", time.Since(p.start).Seconds(), text)
}

// why is what was said last, for who has waited in vain; empty where nothing was.
func (p *progress) why() string {
	if p.last == "" {
		return ""
	}
	return "; it said last: " + strings.TrimSuffix(p.last, ".")
}

// remove deletes an object with all that it owns; with --wait it returns when
// the object is gone.
func (w *waitFlags) remove(ctx context.Context, c *connection, obj client.Object, name string) error {
	obj.SetNamespace(c.namespace)
	obj.SetName(name)
	propagation := metav1.DeletePropagationBackground
	if w.wait {
		propagation = metav1.DeletePropagationForeground
	}
	if err := c.Delete(ctx, obj, &client.DeleteOptions{PropagationPolicy: &propagation}); err != nil {
		return err
	}
	interrupted := ctx.Err
	ctx, cancel := context.WithTimeout(ctx, time.Duration(w.timeout)*time.Second)
	defer cancel()
	for w.wait {
		err := c.Get(ctx, c.key(name), obj)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if interrupted() != nil {
			return fmt.Errorf("interrupted while '%s' is being deleted, which goes on", name)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("timeout: '%s' not deleted after %d seconds", name, w.timeout)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}
