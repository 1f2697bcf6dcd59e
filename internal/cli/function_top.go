package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
)

func newFunctionTop(a *app) *cobra.Command {
	cmd := newList(a, lister{use: "top [NAME]", short: "Show what functions are called for and what they take", kind: "function", list: functions, table: tableOfTop})
	cmd.Aliases = []string{"stats"}
	cmd.Long = `Show what functions are called for and what they take. The counts are those of
the instances that there are: they begin anew with each. One that is frozen is
not woken to be asked.`
	return cmd
}

func tableOfTop(cmd *cobra.Command, c *connection, list client.ObjectList, _ bool) (table, error) {
	t := table{
		columns: []string{"NAME", "NAMESPACE", "METHOD", "TOTAL_CALLS", "TOTAL_FAILURES", "TOTAL_DURATION_SECONDS", "AVG_DURATION_SECONDS", "CPU", "MEMORY", "INSTANCES", "MESSAGE"},
		names:   []string{},
	}
	cluster, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return t, err
	}
	for _, fn := range list.(*kubeless.FunctionList).Items {
		u, err := c.usage(cmd.Context(), cluster, &fn)
		if err != nil {
			return t, err
		}
		t.rows = append(t.rows, u.rows(&fn)...)
		t.names = append(t.names, qualified("function", fn.Name))
	}
	return t, nil
}

// functionUsage is what a function's instances say of themselves, and what
// they take.
type functionUsage struct {
	methods         map[string]callCounts
	cpu, memory     resource.Quantity
	instances       int
	frozen, unheard int
	// forbidden are those that the user may not ask, as a tenant's may not.
	forbidden int
}

type callCounts struct{ calls, failures, seconds float64 }

func (u *functionUsage) rows(fn *kubeless.Function) [][]string {
	row := func(method string, counts ...string) []string {
		return append(append([]string{fn.Name, fn.Namespace, method}, counts...), fmt.Sprintf("%dm", u.cpu.MilliValue()), fmt.Sprintf("%dMi", u.memory.Value()>>20), strconv.Itoa(u.instances), u.message())
	}
	if len(u.methods) == 0 {
		return [][]string{row("", "0", "0", "0", "")}
	}
	var rows [][]string
	for method, n := range u.methods {
		rows = append(rows, row(method, fmt.Sprint(n.calls), fmt.Sprint(n.failures), seconds(n.seconds), seconds(n.seconds/max(n.calls, 1))))
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[2], b[2]) })
	return rows
}

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', 3, 64) }

func (u *functionUsage) message() string {
	var parts []string
	if u.frozen > 0 {
		parts = append(parts, fmt.Sprintf("%d frozen, not counted", u.frozen))
	}
	if u.unheard > 0 {
		parts = append(parts, fmt.Sprintf("%d did not answer", u.unheard))
	}
	if u.forbidden > 0 {
		parts = append(parts, fmt.Sprintf("%d not asked: you may not get pods/proxy", u.forbidden))
	}
	return strings.Join(parts, "; ")
}

// usage asks the function's instances, one after the other.
func (c *connection) usage(ctx context.Context, cluster kubernetes.Interface, fn *kubeless.Function) (*functionUsage, error) {
	u := &functionUsage{methods: map[string]callCounts{}}
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(fn.Namespace), client.MatchingLabels{serving.ServiceLabel: fn.Name}); err != nil {
		return nil, err
	}
	for _, pod := range pods.Items {
		u.instances++
		u.addResources(ctx, c, &pod)
		if kube.PodIs(&pod, serving.PodFrozen) {
			u.frozen++
			continue
		}
		if err := u.ask(ctx, cluster, &pod); apierrors.IsForbidden(err) {
			u.forbidden++
		} else if err != nil {
			u.unheard++
		}
	}
	return u, nil
}

// ask reads an instance's own counts, through the API server.
func (u *functionUsage) ask(ctx context.Context, cluster kubernetes.Interface, pod *corev1.Pod) error {
	const patience, most = 2 * time.Second, 64 << 10
	if len(pod.Spec.Containers) == 0 || len(pod.Spec.Containers[0].Ports) == 0 {
		return errors.New("it has no port")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	port := strconv.Itoa(int(pod.Spec.Containers[0].Ports[0].ContainerPort))
	answer, err := cluster.CoreV1().Pods(pod.Namespace).ProxyGet("http", pod.Name, port, "/metrics", nil).Stream(ctx)
	if err != nil {
		return err
	}
	defer answer.Close()
	u.read(io.LimitReader(answer, most))
	return nil
}

// read adds up the lines of Kubeless's metrics; others are not looked at.
func (u *functionUsage) read(metrics io.Reader) {
	const maxMethods, maxMethod = 50, 20
	for lines := bufio.NewScanner(metrics); lines.Scan(); {
		name, rest, ok := strings.Cut(lines.Text(), `{method="`)
		method, value, ok2 := strings.Cut(rest, `"} `)
		n, err := strconv.ParseFloat(value, 64)
		if !ok || !ok2 || err != nil || len(method) > maxMethod || strings.ContainsFunc(method, func(r rune) bool { return r < 'A' || r > 'Z' }) {
			continue
		}
		counts, known := u.methods[method]
		if !known && len(u.methods) == maxMethods {
			continue
		}
		switch name {
		case "function_calls_total":
			counts.calls += n
		case "function_failures_total":
			counts.failures += n
		case "function_duration_seconds_sum":
			counts.seconds += n
		default:
			continue
		}
		u.methods[method] = counts
	}
}

// addResources adds what the cluster's metrics say of a pod, where it has any.
func (u *functionUsage) addResources(ctx context.Context, c *connection, pod *corev1.Pod) {
	metrics := &unstructured.Unstructured{}
	metrics.SetGroupVersionKind(kube.PodMetrics)
	if c.Get(ctx, client.ObjectKeyFromObject(pod), metrics) != nil {
		return // none yet, or the cluster keeps none
	}
	u.cpu.Add(kube.Usage(metrics, corev1.ResourceCPU))
	u.memory.Add(kube.Usage(metrics, corev1.ResourceMemory))
}
