package cli

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// idle is a cluster in which nothing ever becomes ready, and nothing goes.
type idle struct{ client.WithWatch }

func (idle) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return nil
}
func (idle) Delete(context.Context, client.Object, ...client.DeleteOption) error { return nil }
func (idle) Watch(context.Context, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
	return watch.NewFake(), nil
}

// Who has waited in vain is told what was said last.
func TestLateSaysWhy(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	w, p := &waitFlags{}, &progress{out: io.Discard}
	svc := &serving.Service{ObjectMeta: metav1.ObjectMeta{Name: "hello"}}
	p.say("There is no room.")
	if err := w.late(ctx, svc, p, ctx.Err()); !strings.Contains(err.Error(), "There is no room; see: ") {
		t.Error(err)
	}
}

// Who is interrupted is told so, and what becomes of the service; who waited
// for as long as he wanted is told that.
func TestEndOfWaiting(t *testing.T) {
	c := &connection{WithWatch: idle{}, namespace: "default"}
	svc := &serving.Service{ObjectMeta: metav1.ObjectMeta{Name: "hello", Namespace: "default"}}
	for _, test := range []struct {
		want    string
		timeout int
		ends    time.Duration
	}{
		{"interrupted", 60, 20 * time.Millisecond},
		{"timeout", 0, time.Minute},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(test.ends, cancel)
		cmd := &cobra.Command{}
		cmd.SetContext(ctx)
		cmd.SetErr(io.Discard)
		w := &waitFlags{wait: true, timeout: test.timeout}
		if _, err := w.ready(cmd, c, svc); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "'hello'") {
			t.Errorf("ready: %v, want %s", err, test.want)
		}
		if err := w.remove(ctx, c, &serving.Service{}, "hello"); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("remove: %v, want %s", err, test.want)
		}
		cancel()
	}
}
