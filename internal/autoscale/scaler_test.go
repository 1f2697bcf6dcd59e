package autoscale

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func TestHopeless(t *testing.T) {
	for _, test := range []struct {
		name  string
		ready corev1.ConditionStatus
		at    standing
		age   time.Duration
		want  bool
	}{
		{"failed and never routed", corev1.ConditionFalse, newest, time.Minute, true},
		{"failed and superseded", corev1.ConditionFalse, retired, time.Minute, true},
		{"has time left", corev1.ConditionFalse, newest, 10 * time.Second, false},
		{"not known yet", corev1.ConditionUnknown, newest, time.Minute, false},
		{"worked before", corev1.ConditionFalse, routed, time.Hour, false},
		{"works", corev1.ConditionTrue, newest, time.Hour, false},
	} {
		rev := &serving.Revision{ObjectMeta: metav1.ObjectMeta{
			CreationTimestamp: metav1.NewTime(start.Add(-test.age)),
			Annotations:       map[string]string{serving.ProgressDeadlineAnnotation: "30s"},
		}}
		rev.Status.Conditions.Set(serving.Condition{Type: serving.Ready, Status: test.ready}, metav1.NewTime(start))
		if got := hopeless(rev, test.at, start); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}

// A gateway that has gone without a word is asked again: it may have come back, and
// what waits there is told to whoever listens anew.
func TestSilentGatewayIsLeft(t *testing.T) {
	gone := make(chan struct{})
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(w, `{"gateway":"g","revisions":[]}`+"\n")
		_ = http.NewResponseController(w).Flush()
		<-req.Context().Done()
		close(gone)
	}))
	defer gateway.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := &Scaler{revisions: map[types.NamespacedName]*Tracker{}}
	if err := s.follow(ctx, gateway.Listener.Addr().String(), 50*time.Millisecond); err == nil || ctx.Err() != nil {
		t.Errorf("it is followed until %v, %v", err, ctx.Err())
	}
	<-gone
}
