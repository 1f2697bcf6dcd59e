package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// warmRequests follow the first one; the median is shown.
const warmRequests = 10

// serviceLabel is on every instance of a service.
const serviceLabel = "serving.knative.dev/service"

func serviceName(c class) string { return "helloworld-go-" + c.Name }

// deployServices applies the talk's Knative Service in every class and waits
// until all are ready.
func (d *demo) deployServices(ctx context.Context) error {
	apply := []string{"apply"}
	wait := []string{"wait", "--for=condition=Ready", "--timeout=60s"}
	for _, c := range d.classes {
		apply = append(apply, "-f", serviceName(c)+".yaml")
		wait = append(wait, "services.serving.knative.dev/"+serviceName(c))
	}
	for _, args := range [][]string{apply, wait} {
		if _, _, err := d.stage.run(ctx, "kubectl", args...); err != nil {
			return err
		}
	}
	d.stage.note("the services of the second act are ready; without requests they go to zero")
	return nil
}

// services is the second act: the talk's Knative Service, awakened from zero
// by a request.
func (d *demo) services(ctx context.Context) error {
	d.stage.title("2. A Knative Service chooses its sandbox: the talk's helloworld-go")
	if err := d.gone(ctx); err != nil {
		return err
	}
	d.stage.note("no instance is left of the services; the next request starts one\n")
	for i, c := range d.classes {
		r, err := d.awaken(ctx, c)
		if err != nil {
			return err
		}
		d.results = append(d.results, r)
		d.stage.note("%s: first answer from zero in %s, then %s each", c.Name, seconds(r.cold), brief(r.warm))
		if i < len(d.classes)-1 {
			d.stage.say("")
		}
	}
	return nil
}

// gone waits until no pod of the services is left.
func (d *demo) gone(ctx context.Context) error {
	names := make([]string, len(d.classes))
	for i, c := range d.classes {
		names[i] = serviceName(c)
	}
	_, _, err := d.stage.run(ctx, "kubectl", "wait", "--for=delete", "--timeout=60s", "pod",
		"-l", serviceLabel+" in ("+strings.Join(names, ",")+")")
	return err
}

func (d *demo) awaken(ctx context.Context, c class) (result, error) {
	url := d.address(serviceName(c) + ".default.localhost")
	answer, cold, err := d.stage.run(ctx, "curl", "-sS", "--fail-with-body", url)
	if err != nil {
		return result{}, err
	}
	if !strings.Contains(answer, "Go Sample v1") {
		return result{}, fmt.Errorf("%s answered %q, not the sample's greeting", url, answer)
	}
	if err := d.inClass(ctx, serviceName(c), c); err != nil {
		return result{}, err
	}
	warm, err := d.warm(ctx, http.MethodGet, serviceName(c)+".default.localhost", "")
	return result{workload: "service", class: c, cold: cold, warm: warm}, err
}

// inClass makes sure that the answer came from where it should: all instances
// of the service are in the class.
func (d *demo) inClass(ctx context.Context, service string, c class) error {
	pods, err := d.cluster.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: serviceLabel + "=" + service})
	if err != nil {
		return fmt.Errorf("list instances of %s: %w", service, err)
	}
	if len(pods.Items) == 0 {
		return fmt.Errorf("%s has no instance", service)
	}
	for _, pod := range pods.Items {
		if name := pod.Spec.RuntimeClassName; name == nil || *name != c.Name {
			return fmt.Errorf("the instance %s of %s is not in the class %s", pod.Name, service, c.Name)
		}
	}
	return nil
}

// warm is the median time of requests on one connection to the gateway.
func (d *demo) warm(ctx context.Context, method, host, body string) (time.Duration, error) {
	times := make([]time.Duration, warmRequests)
	for i := range times {
		req, err := http.NewRequestWithContext(ctx, method, d.address("127.0.0.1"), strings.NewReader(body))
		if err != nil {
			return 0, err
		}
		req.Host = host // no name needs to be resolved
		started := time.Now()
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		times[i] = time.Since(started)
		if err != nil || resp.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("%s answered %s (%v)", host, resp.Status, err)
		}
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

func brief(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
