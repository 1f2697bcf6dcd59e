package test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// What the commands on services do not take they refuse, saying what is wrong
// with what, with the exit code for a wrong command or for one that failed.
func TestServiceCommandsRefuse(t *testing.T) {
	ns := namespace(t)
	const manifest = `{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"template": {"spec": {%}}}}`
	for _, c := range []struct {
		args  string // between spaces
		spec  string // with -f -: of the template
		code  int
		parts []string
	}{
		{"service create web", "", 2, []string{"--image"}},
		{"service create --image x", "", 2, []string{"needs the name"}},
		{"service create web --image x --runtime-class no-such-class", "", 1, []string{"runtimeClassName", "no-such-class"}},
		{"service create web --image x --port 70000", "", 2, []string{"--port", "70000"}},
		{"service create web --image x --port http", "", 2, []string{"--port", "http"}},
		{"service create Web --image x", "", 1, []string{"metadata.name", "Web"}},
		{"service create web --image x --scale 5..1", "", 1, []string{"max-scale=1 is less than min-scale=5"}},
		{"service create web --image x --scale-metric bananas", "", 1, []string{"autoscaling.knative.dev/metric", "bananas", "concurrency or rps"}},
		{"service create web --image x --scale-metric memory", "", 1, []string{"autoscaling.knative.dev/target", "missing", "MiB"}},
		{"service create web --image x --annotation autoscaling.knative.dev/metric=cpu", "", 1, []string{"autoscaling.knative.dev/metric", "hpa.autoscaling.knative.dev"}},
		{"service create web --image x --annotation autoscaling.knative.dev/class=best", "", 1, []string{"autoscaling.knative.dev/class", "best", "hpa.autoscaling.knative.dev"}},
		{"service create web --image x --env =value", "", 2, []string{"--env", "=value"}},
		{"service create web --image x --limit memory=much", "", 2, []string{"--limit", "much"}},
		{"service create web --image x --traffic web-00001=40", "", 1, []string{"spec.traffic", "add up to 100"}},
		{"service create web --image x --no-such-flag", "", 2, []string{"no-such-flag"}},
		{"service update web --env A=b", "", 1, []string{"web", "not found"}},
		{"service describe web", "", 1, []string{"web", "not found"}},
		{"service delete web", "", 1, []string{"web", "not found"}},
		{"service wait web", "", 1, []string{"web", "not found"}},
		{"service logs web", "", 1, []string{"web", "not found"}},
		{"service invoke web", "", 1, []string{"web", "not found"}},
		{"service list -o bananas", "", 2, []string{"bananas", "json"}},
		{"revision describe web-00001", "", 1, []string{"web-00001", "not found"}},
		{"revision delete web-00001", "", 1, []string{"web-00001", "not found"}},
		{"route describe web", "", 1, []string{"web", "not found"}},
		{"service apply -f -", `"containers": [{"image": "x"}], "runtimeclassname": "gvisor"`, 1, []string{"runtimeclassname"}},
		{"service apply -f -", `"containers": [{"image": "x", "prot": 1}]`, 1, []string{"containers[0]", "prot"}},
		{"service apply -f -", `"containers": [{"image": "x", "ports": [{"containerPort": 70000}]}]`, 1, []string{"ports[0].containerPort"}},
		{"service apply -f -", `"containers": []`, 1, []string{"spec.template.spec.containers"}},
		{"service apply -f -", `"containers": [{"image": "x"}], "runtimeClassName": "no-such-class"`, 1, []string{"runtimeClassName", "no-such-class"}},
		{"service apply -f /no/such/file", "", 1, []string{"/no/such/file"}},
	} {
		t.Run(c.args+c.spec, func(t *testing.T) {
			t.Parallel()
			_, err := shared.Try(t, strings.Replace(manifest, "%", c.spec, 1), append(strings.Fields(c.args), "-n", ns)...)
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("taken: %v", err)
			}
			if exit.ExitCode() != c.code {
				t.Errorf("exit code %d, want %d: %v", exit.ExitCode(), c.code, err)
			}
			_, said, _ := strings.Cut(err.Error(), "\n")
			for _, part := range c.parts {
				if !strings.Contains(said, part) {
					t.Errorf("does not say %q: %s", part, said)
				}
			}
		})
	}
}
