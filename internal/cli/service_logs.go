package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// logFlags say what of the instances' output is wanted.
type logFlags struct {
	follow, prefix      bool
	tail                int64
	since               time.Duration
	container, revision string
}

func (l *logFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&l.follow, "follow", "f", false, "go on printing until Ctrl-C or the instances end")
	flags.BoolVar(&l.prefix, "prefix", false, "begin each line with the name of the instance")
	flags.Int64Var(&l.tail, "tail", -1, "only the last lines of each instance; -1 is all")
	flags.DurationVar(&l.since, "since", 0, "only what is not older, as 5m")
	flags.StringVarP(&l.container, "container", "c", "", "container to print (default: the one that gets the requests)")
	flags.StringVar(&l.revision, "revision", "", "only instances of this revision")
}

func newServiceLogs(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	l := &logFlags{}
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what the instances of a service have written",
		Long: `Print what the instances of a service have written. A service at zero has no
instance, and what earlier ones wrote went with them.`,
		Args: oneName("service"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			if err := c.Get(cmd.Context(), c.key(args[0]), &serving.Service{}); err != nil {
				return err
			}
			labels := client.MatchingLabels{serving.ServiceLabel: args[0]}
			if l.revision != "" {
				labels[serving.RevisionLabel] = l.revision
			}
			return l.print(cmd, c, labels)
		},
		ValidArgsFunction: complete(f, services),
	}
	f.register(cmd, false)
	l.register(cmd)
	return cmd
}

// print copies the output of all pods with the labels, line by line.
func (l *logFlags) print(cmd *cobra.Command, c *connection, labels client.MatchingLabels) error {
	var pods corev1.PodList
	if err := c.List(cmd.Context(), &pods, client.InNamespace(c.namespace), labels); err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "There is no instance now; the next request starts one.")
		return nil
	}
	clients, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(pods.Items))
	out := &lineWriter{out: cmd.OutOrStdout()}
	for i, pod := range pods.Items {
		wg.Go(func() { errs[i] = l.copy(cmd.Context(), clients, &pod, out) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l *logFlags) copy(ctx context.Context, clients kubernetes.Interface, pod *corev1.Pod, out *lineWriter) error {
	options := &corev1.PodLogOptions{Follow: l.follow, Container: l.container}
	if options.Container == "" {
		options.Container = servedContainer(pod)
	}
	if l.tail >= 0 {
		options.TailLines = &l.tail
	}
	if l.since > 0 {
		seconds := int64(l.since.Seconds())
		options.SinceSeconds = &seconds
	}
	stream, err := clients.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, options).Stream(ctx)
	if err != nil {
		return fmt.Errorf("instance %s: %w", pod.Name, err)
	}
	defer stream.Close()
	prefix := ""
	if l.prefix {
		prefix = "[" + pod.Name + "] "
	}
	lines := bufio.NewReader(stream)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			out.write(prefix, line)
		}
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("instance %s: %w", pod.Name, err)
		}
	}
}

// servedContainer is the pod's container that has a port.
func servedContainer(pod *corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		if len(c.Ports) > 0 {
			return c.Name
		}
	}
	return pod.Spec.Containers[0].Name
}

// lineWriter keeps lines of several instances apart.
type lineWriter struct {
	mu  sync.Mutex
	out io.Writer // guarded by mu
}

func (w *lineWriter) write(prefix string, line []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = io.WriteString(w.out, prefix)
	_, _ = w.out.Write(line)
}
