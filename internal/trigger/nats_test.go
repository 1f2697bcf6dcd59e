package trigger

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"redoubt.dev/redoubt/internal/trigger/jetstream"
)

// A tenant's triggers call no more functions than may be, and others' as many as
// they did.
func TestFollowersOfATenantAreBounded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	broker := jetstream.New("nats://127.0.0.1:1") // where nobody is
	defer broker.Close()
	r := &natsReconciler{broker: broker, ctx: ctx, followers: map[types.NamespacedName]map[string]*follower{}}
	keep := func(tenant, namespace, trigger string, functions int) (followed int, problem error) {
		var wanted []jetstream.Subscription
		for n := range functions {
			wanted = append(wanted, jetstream.Subscription{Namespace: namespace, Trigger: trigger, Function: fmt.Sprint("f", n), Topic: "t.a"})
		}
		name := types.NamespacedName{Namespace: namespace, Name: trigger}
		problem = r.keep(name, tenant, wanted, "")
		return len(r.followers[name]), problem
	}
	for _, tc := range []struct {
		tenant, namespace, trigger string
		functions, want            int
		full                       bool
	}{
		{"t", "t-a", "one", maxFollowers - 10, maxFollowers - 10, false},
		{"t", "t-b", "two", 20, 10, true},
		{"t", "t-b", "two", 20, 10, true}, // again
		{"u", "u-a", "one", 20, 20, false},
		{"", "shop", "one", 20, 20, false},
		{"t", "t-a", "one", 0, 0, false},
		{"t", "t-b", "two", 20, 20, false},
	} {
		got, problem := keep(tc.tenant, tc.namespace, tc.trigger, tc.functions)
		if full := problem != nil && strings.Contains(problem.Error(), "may not call more"); got != tc.want || full != tc.full && tc.want < tc.functions {
			t.Errorf("%s/%s: %d functions are followed, want %d; %v", tc.namespace, tc.trigger, got, tc.want, problem)
		}
	}
}
