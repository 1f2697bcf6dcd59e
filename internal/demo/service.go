package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// warmRequests follow the first one; the median is shown.
const warmRequests = 20

func serviceName(c class) string { return "helloworld-go-" + c.Name }

// services is the second act: the talk's Knative Service, awakened from zero
// by a request.
func (d *demo) services(ctx context.Context) error {
	d.stage.title("2. A Knative Service chooses its sandbox: the talk's helloworld-go")
	for _, c := range d.classes {
		if _, _, err := d.stage.run(ctx, "kubectl", "apply", "-f", serviceName(c)+".yaml"); err != nil {
			return err
		}
	}
	for _, c := range d.classes {
		_, _, err := d.stage.run(ctx, "kubectl", "wait", "--for=condition=Ready", "--timeout=60s", "services.serving.knative.dev/"+serviceName(c))
		if err != nil {
			return err
		}
	}
	d.stage.note("all are ready; without requests they go to zero")
	for _, c := range d.classes {
		if err := d.gone(ctx, serviceName(c)); err != nil {
			return err
		}
	}
	d.stage.note("no instance is left; the next request starts one\n")
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

// gone waits until no pod of the service is left.
func (d *demo) gone(ctx context.Context, service string) error {
	_, _, err := d.stage.run(ctx, "kubectl", "wait", "--for=delete", "--timeout=60s", "pod", "-l", "serving.knative.dev/service="+service)
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
	classes, err := d.stage.quietly(ctx, "kubectl", "get", "pods", "-l", "serving.knative.dev/service="+service,
		"-o", "jsonpath={.items[*].spec.runtimeClassName}")
	if err != nil {
		return err
	}
	if found := strings.Fields(classes); len(found) == 0 || slices.ContainsFunc(found, func(name string) bool { return name != c.Name }) {
		return fmt.Errorf("instances of %s are in the classes %q, not in %s", service, found, c.Name)
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
