package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"

	"redoubt.dev/redoubt/internal/probe"
)

// soon is how long a pod may take for what is done to it.
const soon = 30 * time.Second

// verbs are done to a pod that serves, one after the other.
var verbs = []struct {
	name string
	try  func(Probe, context.Context, *corev1.Pod) error
}{
	{"exec", Probe.exec},
	{"port-forward", Probe.portForward},
	{"resize", Probe.resize},
	{"checkpoint", Probe.checkpoint},
}

// server is a pod that answers, with bounds that can be changed while it runs.
func server(class, node, image string) *corev1.Pod {
	pod := pod(class, node, image)
	pod.Spec.Containers[0].Args = []string{probe.Server}
	pod.Spec.Containers[0].Resources = bounds("1", "128Mi")
	return pod
}

func bounds(cpu, memory string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse(memory)},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)},
	}
}

// tryVerbs answers for each verb whether it can be done to the pod.
func (p Probe) tryVerbs(ctx context.Context, pod *corev1.Pod) map[string]string {
	answers := map[string]string{}
	for _, v := range verbs {
		answers[v.name] = probe.Works
		ctx, cancel := context.WithTimeout(ctx, soon)
		if err := v.try(p, ctx, pod); err != nil {
			answers[v.name] = cause(err.Error())
		}
		cancel()
	}
	return answers
}

func (p Probe) exec(ctx context.Context, pod *corev1.Pod) error {
	req := p.Cluster.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: []string{probe.Path, "hostUsers"}, Stdout: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(p.Config, http.MethodGet, req.URL().String())
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out}); err != nil {
		return err
	}
	if !strings.Contains(out.String(), "hostUsers") {
		return fmt.Errorf("the command says %q", out.String())
	}
	return nil
}

func (p Probe) portForward(ctx context.Context, pod *corev1.Pod) error {
	transport, upgrader, err := spdy.RoundTripperFor(p.Config)
	if err != nil {
		return err
	}
	url := p.Cluster.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("portforward").URL()
	stop, ready := make(chan struct{}), make(chan struct{})
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	var said bytes.Buffer
	forward, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", probe.Port)}, stop, ready, io.Discard, &said)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- forward.ForwardPorts() }()
	defer func() {
		close(stop)
		<-ended
	}()
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
	ports, err := forward.GetPorts()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d", ports[0].Local), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// resize gives the pod other bounds while it runs (KEP-1287).
func (p Probe) resize(ctx context.Context, pod *corev1.Pod) error {
	pods, want := p.Cluster.CoreV1().Pods(pod.Namespace), bounds("900m", "160Mi")
	now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	now.Spec.Containers[0].Resources = want
	if _, err := pods.UpdateResize(ctx, pod.Name, now, metav1.UpdateOptions{}); err != nil {
		return err
	}
	why := "the node does nothing about it"
	err = wait.PollUntilContextCancel(ctx, interval, true, func(ctx context.Context) (bool, error) {
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, c := range now.Status.Conditions {
			if c.Type == corev1.PodResizePending || c.Type == corev1.PodResizeInProgress {
				why = strings.TrimSpace(c.Reason + " " + c.Message)
				return false, nil
			}
		}
		status := now.Status.ContainerStatuses[0]
		if status.RestartCount > 0 {
			return false, errors.New("the container was restarted")
		}
		return status.Resources != nil && status.Resources.Limits.Memory().Equal(*want.Limits.Memory()) && status.Resources.Limits.Cpu().Equal(*want.Limits.Cpu()), nil
	})
	if wait.Interrupted(err) {
		return errors.New(why)
	}
	return err
}

// checkpoint asks the kubelet for the container's memory in a file (KEP-2008),
// which stays on the node where that works.
func (p Probe) checkpoint(ctx context.Context, pod *corev1.Pod) error {
	answer, err := p.Cluster.CoreV1().RESTClient().Post().Resource("nodes").Name(pod.Spec.NodeName).SubResource("proxy").
		Suffix("checkpoint", pod.Namespace, pod.Name, pod.Spec.Containers[0].Name).DoRaw(ctx)
	if err != nil && len(answer) > 0 {
		return errors.New(string(answer[:min(len(answer), longest)]))
	}
	return err
}
