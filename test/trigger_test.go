package test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"redoubt.dev/redoubt/test/platform"
)

// ticked is a function that writes what it is called with, and is frozen when
// it has been idle for a second.
const ticked = `
apiVersion: kubeless.io/v1beta1
kind: Function
metadata: {name: report, namespace: %s}
spec:
  runtime: python3
  handler: app.report
  runtimeClassName: runc
  deployment: {spec: {template: {metadata: {annotations: {redoubt.dev/freeze: 1s}}}}}
  function: |
    def report(event, context):
        print("called by", event["data"]["by"], "of", event["event-namespace"])
        return {"specversion": "1.0", "id": event["event-id"], "source": "/report", "type": "done", "data": event["data"]}
`

func TestCronTriggerWakesItsFunction(t *testing.T) {
	ns := namespace(t)
	shared.Redoubt(t, "function", "prepare", "python3")
	shared.Apply(t, fmt.Sprintf(ticked, ns))
	shared.Kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "--timeout=90s", "functions.kubeless.io/report")
	awaitFrozen(t, ns, "report", corev1.ConditionTrue)
	shared.Redoubt(t, "trigger", "-n", ns, "cronjob", "create", "tick", "--function=report", "--schedule=@every 1s", `--payload={"by": "schedule"}`)
	platform.Eventually(t, "calls", func() error {
		out := shared.Redoubt(t, "trigger", "-n", ns, "cronjob", "list", "tick", "-o", "json")
		if !all(out, "lastScheduleTime", "lastSuccessfulTime") {
			return errors.New(out)
		}
		return nil
	})
	if out := function(t, ns, "logs", "report"); !strings.Contains(out, "called by schedule of cronjobtrigger.kubeless.io") {
		t.Errorf("the logs are %q", out)
	}
	shared.Redoubt(t, "trigger", "-n", ns, "cronjob", "update", "tick", "--suspend", "--schedule=0 3 * * 1", "--time-zone=Europe/Berlin")
	if out := shared.Redoubt(t, "trigger", "-n", ns, "cronjob", "list"); !all(out, "tick", "0 3 * * 1", "Europe/Berlin", "report", "True") {
		t.Errorf("the list is %q", out)
	}
	shared.Redoubt(t, "trigger", "-n", ns, "cronjob", "delete", "tick")
}

// TestTriggersOfOthers applies what Kubeless has triggers for and nothing here has.
func TestTriggersOfOthers(t *testing.T) {
	const manifest = "apiVersion: kubeless.io/v1beta1\nkind: %s\nmetadata: {name: orders, namespace: default}\nspec: {%s, functionSelector: {matchLabels: {function: hello}}}\n"
	for kind, spec := range map[string]string{"Kafka": "topic: orders", "Kinesis": "stream: orders, shardID: shard-0"} {
		shared.Refuse(t, fmt.Sprintf(manifest, kind+"Trigger", spec), kind+" is not served", "NATSTrigger")
		_, err := shared.Try(t, "", "trigger", strings.ToLower(kind), "create", "orders", "--function-selector", "function=hello")
		if err == nil || !strings.Contains(err.Error(), "redoubt trigger nats create") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestCronTriggerRefuses(t *testing.T) {
	ns := namespace(t)
	for title, tc := range map[string]struct {
		args []string
		says string
	}{
		"no schedule":        {[]string{"--function=f"}, "needs --function and --schedule"},
		"no cron expression": {[]string{"--function=f", "--schedule=often"}, "spec.schedule"},
		"no time zone":       {[]string{"--function=f", "--schedule=@daily", "--time-zone=Middle/Earth"}, "spec.timeZone"},
		"no function":        {[]string{"--function=f", "--schedule=@daily"}, "there is no function 'f'"},
		"no policy":          {[]string{"--function=f", "--schedule=@daily", "--concurrency-policy=Replace"}, "neither Allow nor Forbid"},
		"two payloads":       {[]string{"--function=f", "--schedule=@daily", "-p", "1", "-f", "x"}, "give one"},
	} {
		_, err := shared.Try(t, "", append([]string{"trigger", "-n", ns, "cronjob", "create", "bad"}, tc.args...)...)
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", title, err, tc.says)
		}
	}
	// What comes another way says what is wrong in its status.
	shared.Apply(t, fmt.Sprintf(`{"apiVersion": "kubeless.io/v1beta1", "kind": "CronJobTrigger", "metadata": {"name": "bad", "namespace": %q}, "spec": {"schedule": "often", "function-name": "f"}}`, ns))
	platform.Eventually(t, "the status says what is wrong", func() error {
		if out := shared.Redoubt(t, "trigger", "-n", ns, "cronjob", "list"); !strings.Contains(out, "ScheduleInvalid") {
			return errors.New(out)
		}
		return nil
	})
}
