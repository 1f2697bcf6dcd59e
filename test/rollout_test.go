package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/test/platform"
)

func routeOf(t *testing.T, ns, name string) *serving.Route {
	t.Helper()
	var route serving.Route
	if err := json.Unmarshal([]byte(shared.Kubectl(t, "-n", ns, "get", "routes", name, "-o", "json")), &route); err != nil {
		t.Fatal(err)
	}
	return &route
}

// A new revision gets the requests little by little, while both are routed,
// and all in the end, when the old one is in reserve. A target that cannot be
// resolved does not stop it. All the while the Service
// of Kubernetes keeps what others have written on it.
func TestRollout(t *testing.T) {
	ns := namespace(t)
	shell(t)
	deployWeb(t, "web", ns, "never", "runc", "")
	routed := func(revision string, state serving.RoutingState) {
		t.Helper()
		platform.Eventually(t, fmt.Sprintf("%s is %s", revision, state), func() error {
			if got := shared.Kubectl(t, "-n", ns, "get", "revisions", revision, "-o", `jsonpath={.metadata.labels.serving\.knative\.dev/routingState}`); got != string(state) {
				return fmt.Errorf("it is %q", got)
			}
			return nil
		})
	}
	routed("web-00001", serving.RoutingActive)
	shared.Kubectl(t, "-n", ns, "label", "services", "web", "by=others")
	shared.Kubectl(t, "-n", ns, "annotate", "ksvc", "web", serving.RolloutDurationAnnotation+"=10s")
	shared.Kubectl(t, "-n", ns, "patch", "ksvc", "web", "--type=merge", "-p", `{"spec": {"template": {"metadata": {"annotations": {"changed": "yes"}}}}}`)
	platform.Eventually(t, "both revisions get requests", func() error {
		traffic := routeOf(t, ns, "web").Status.Traffic
		if len(traffic) != 2 {
			return fmt.Errorf("the traffic is %+v", traffic)
		}
		if old, next := traffic[0], traffic[1]; old.RevisionName != "web-00001" || next.RevisionName != "web-00002" || *old.Percent+*next.Percent != 100 {
			return fmt.Errorf("the traffic is %+v", traffic)
		}
		return nil
	})
	routed("web-00001", serving.RoutingActive)
	routed("web-00002", serving.RoutingActive)
	shared.Kubectl(t, "-n", ns, "patch", "ksvc", "web", "--type=merge", "-p", `{"spec": {"traffic": [{"latestRevision": true, "percent": 100}, {"tag": "gone", "revisionName": "nowhere"}]}}`)
	platform.Eventually(t, "the other target is missed", func() error {
		route := routeOf(t, ns, "web")
		if c := route.Status.Conditions.Get(serving.AllTrafficAssigned); c.Reason != "RevisionMissing" || len(route.Status.Rollouts) != 1 {
			return fmt.Errorf("the condition is %+v, the rollouts %+v", c, route.Status.Rollouts)
		}
		return nil
	})
	platform.Eventually(t, "the rollout is over", func() error {
		route := routeOf(t, ns, "web")
		if traffic := route.Status.Traffic; len(traffic) != 1 || traffic[0].RevisionName != "web-00002" || *traffic[0].Percent != 100 || len(route.Status.Rollouts) != 0 {
			return errors.New("it goes on")
		}
		return nil
	})
	routed("web-00001", serving.RoutingReserve)
	if got := shared.Kubectl(t, "-n", ns, "get", "services", "web", "-o", "jsonpath={.metadata.labels.by}"); got != "others" {
		t.Errorf("the label by is %q, want others", got)
	}
}

// Of the revisions that no route leads to, as many are kept as the platform's
// owner says, and none of those that one leads to. No other test has as many.
func TestOldRevisionsAreCollected(t *testing.T) {
	t.Parallel()
	const most, made = 4, 7
	ns := namespace(t)
	shell(t)
	web := `{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "web", "namespace": %q},
		"spec": {"template": {"metadata": {"annotations": {"autoscaling.knative.dev/initial-scale": "0", "round": "%d"}},
		"spec": {"runtimeClassName": "runc", "containers": [{"image": "localhost/redoubt-test/shell:latest"}]}}}}`
	for round := range made {
		shared.Apply(t, fmt.Sprintf(web, ns, round))
		platform.Eventually(t, "the revision is routed", func() error {
			traffic := routeOf(t, ns, "web").Status.Traffic
			if want := fmt.Sprintf("web-%05d", round+1); len(traffic) != 1 || traffic[0].RevisionName != want {
				return fmt.Errorf("the traffic is %+v, want %s", traffic, want)
			}
			return nil
		})
	}
	revisions := func() []string {
		return strings.Fields(shared.Kubectl(t, "-n", ns, "get", "revisions", "-o", "jsonpath={.items[*].metadata.name}"))
	}
	if all := revisions(); len(all) != made {
		t.Fatalf("the revisions are %v, want %d before the settings change", all, made)
	}
	shared.Kubectl(t, "-n", "redoubt-system", "create", "configmap", "config-gc",
		fmt.Sprintf("--from-literal=min-non-active-revisions=%d", most), fmt.Sprintf("--from-literal=max-non-active-revisions=%d", most))
	t.Cleanup(func() {
		if out, err := shared.Command(context.Background(), "kubectl", "-n", "redoubt-system", "delete", "configmap", "config-gc").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	platform.Eventually(t, "the oldest are gone", func() error {
		if all := revisions(); len(all) != most+1 || all[0] != "web-00003" || all[most] != "web-00007" {
			return fmt.Errorf("the revisions are %v", all)
		}
		return nil
	})
}
