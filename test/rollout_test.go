package test

import (
	"encoding/json"
	"errors"
	"fmt"
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
