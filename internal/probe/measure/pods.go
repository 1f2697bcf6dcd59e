package measure

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"redoubt.dev/redoubt/internal/probe"
)

const (
	// patience is how long one pod may take.
	patience = 3 * time.Minute
	// interval is how often is looked at what is waited for.
	interval = 300 * time.Millisecond
	// farewell is how long its removal may take to be asked for.
	farewell = 5 * time.Second
	// longest is how much a pod may say, in bytes.
	longest = 64 << 10
	// tries is how often a node must have refused a pod until that is an answer:
	// once may be bad luck, unless the node speaks of what was asked.
	tries = 2
)

func pod(class, node, image string) *corev1.Pod {
	no := false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-" + class + "-", Labels: map[string]string{label: class}},
		Spec: corev1.PodSpec{
			RuntimeClassName:             &class,
			NodeName:                     node,
			RestartPolicy:                corev1.RestartPolicyNever,
			AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{
				Name: "probe", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				Env: []corev1.EnvVar{{Name: probe.HostAddress, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.hostIP"}}}},
			}},
		},
	}
}

// run makes the pod, reads what it says and removes it. Where the node does not
// start it, refused says why. The pod asks for what about names.
func (p Probe) run(ctx context.Context, pod *corev1.Pod, about ...string) (report probe.Report, refused string, err error) {
	p.Room <- struct{}{}
	defer func() { <-p.Room }()
	made, refused, err := p.start(ctx, pod, hasEnded, about...)
	if err != nil || refused != "" {
		return report, refused, err
	}
	defer p.remove(ctx, made)
	log, err := p.Cluster.CoreV1().Pods(Namespace).GetLogs(made.Name, &corev1.PodLogOptions{}).Stream(ctx)
	if err != nil {
		return report, "", fmt.Errorf("read what pod %s says: %w", made.Name, err)
	}
	defer log.Close()
	if err := json.NewDecoder(io.LimitReader(log, longest)).Decode(&report); err != nil {
		return report, "", fmt.Errorf("read what pod %s says: %w", made.Name, err)
	}
	return report, "", nil
}

func hasEnded(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodSucceeded }

func serves(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != ""
}

// start makes the pod, and waits until it is as wanted. Where the node does not
// start it, refused says why; then, and after an error, it is removed.
func (p Probe) start(ctx context.Context, pod *corev1.Pod, wanted func(*corev1.Pod) bool, about ...string) (now *corev1.Pod, refused string, err error) {
	pods := p.Cluster.CoreV1().Pods(Namespace)
	made, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil || refused != "" {
			p.remove(ctx, made)
		}
	}()
	var why string
	err = wait.PollUntilContextTimeout(ctx, interval, patience, true, func(ctx context.Context) (bool, error) {
		if now, err = pods.Get(ctx, made.Name, metav1.GetOptions{}); err != nil {
			return false, err
		}
		why = fmt.Sprintf("pod %s is %s", now.Name, now.Status.Phase)
		if wanted(now) {
			return true, nil
		}
		if refused, err = p.refusal(ctx, now, about); err != nil || refused != "" {
			return true, err
		}
		if now.Status.Phase == corev1.PodFailed {
			said, _ := pods.GetLogs(now.Name, &corev1.PodLogOptions{TailLines: new(int64(1)), LimitBytes: new(int64(longest))}).DoRaw(ctx)
			err = errors.New(cause(cmp.Or(now.Status.Message, string(said), "it says nothing")))
		}
		return false, err
	})
	if err != nil {
		err = fmt.Errorf("%w; %s", err, why)
	}
	return now, refused, err
}

// must takes a refusal for an error, where every class has to start the pod.
func must(refused string, err error) error {
	if err == nil && refused != "" {
		return errors.New(refused)
	}
	return err
}

// remove lets a pod go at once.
func (p Probe) remove(ctx context.Context, pod *corev1.Pod) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	_ = p.Cluster.CoreV1().Pods(Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
}

// refusal says why the node does not start a pod; empty where it may yet.
func (p Probe) refusal(ctx context.Context, pod *corev1.Pod, about []string) (string, error) {
	for _, c := range pod.Status.ContainerStatuses {
		if ended := c.State.Terminated; ended != nil && ended.Reason == "StartError" {
			return cause(ended.Message), nil
		}
	}
	events, err := p.Cluster.CoreV1().Events(pod.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "reason=FailedCreatePodSandBox,involvedObject.uid=" + string(pod.UID),
	})
	if err != nil {
		return "", err
	}
	var count int32
	for _, e := range events.Items {
		count += max(1, e.Count)
		if slices.ContainsFunc(about, func(name string) bool { return strings.Contains(e.Message, name) }) {
			count = tries
		}
	}
	if count < tries {
		return "", nil
	}
	return cause(events.Items[0].Message), nil
}

// passedOn is what the parts of a node put before the cause of a failure that
// they tell each other.
var passedOn = []string{"desc = ", "Failed to create pod sandbox: ", "failed to create shim task: ", "invalid argument: "}

// cause is what is left of a message without that, as one line.
func cause(message string) string {
	const most = 300
	for _, before := range passedOn {
		if at := strings.LastIndex(message, before); at >= 0 {
			message = message[at+len(before):]
		}
	}
	message = strings.Join(strings.Fields(message), " ")
	return strings.ToValidUTF8(message[:min(len(message), most)], "")
}
