package route

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// listed is an API server with routes.
type listed struct {
	client.Client
	routes []serving.Route
}

func (l listed) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*serving.RouteList).Items = l.routes
	return nil
}

// TestRoutesWith: a route looks again when what it names comes or goes, be it a
// configuration or a revision.
func TestRoutesWith(t *testing.T) {
	route := func(name string, traffic ...serving.TrafficTarget) serving.Route {
		return serving.Route{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: serving.RouteSpec{Traffic: traffic}}
	}
	r := &reconciler{client: listed{routes: []serving.Route{
		route("latest", serving.TrafficTarget{ConfigurationName: "one"}),
		route("pinned", serving.TrafficTarget{RevisionName: "two"}, serving.TrafficTarget{RevisionName: "one"}),
		route("other", serving.TrafficTarget{RevisionName: "two"}),
	}}}
	named := metav1.ObjectMeta{Namespace: "ns", Name: "one"}
	for _, test := range []struct {
		find handler.MapFunc
		o    client.Object
		want string
	}{
		{r.routesWith(configurationOf), &serving.Configuration{ObjectMeta: named}, "[ns/latest]"},
		{r.routesWith(revisionOf), &serving.Revision{ObjectMeta: named}, "[ns/pinned]"},
	} {
		if got := fmt.Sprint(test.find(t.Context(), test.o)); got != test.want {
			t.Errorf("%T: got %s, want %s", test.o, got, test.want)
		}
	}
}
