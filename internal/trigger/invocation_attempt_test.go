package trigger

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// oneInvocation is an API server with one invocation, and the cache of it.
type oneInvocation struct {
	client.Client
	mu    sync.Mutex
	now   *redoubt.Invocation // guarded by mu
	patch string              // guarded by mu; the last one
}

func (o *oneInvocation) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i, ok := into.(*redoubt.Invocation); ok {
		o.now.DeepCopyInto(i)
		_, _ = StripInvocation(i)
	}
	return nil
}

func (o *oneInvocation) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return nil
}

func (o *oneInvocation) Status() client.SubResourceWriter { return invocationStatus{o: o} }

type invocationStatus struct {
	client.SubResourceWriter
	o *oneInvocation
}

func (s invocationStatus) Patch(_ context.Context, i client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	data, err := p.Data(i)
	s.o.patch, s.o.now = string(data), i.(*redoubt.Invocation).DeepCopy()
	return err
}

// restarting is an API server that cannot be read at first.
type restarting struct {
	client.Reader
	mu    sync.Mutex
	fails int // guarded by mu
	now   redoubt.Invocation
}

func (r *restarting) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails--; r.fails >= 0 {
		return errors.New("connection refused")
	}
	r.now.DeepCopyInto(into.(*redoubt.Invocation))
	return nil
}

func pending() *redoubt.Invocation {
	return &redoubt.Invocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "i", UID: "1", ResourceVersion: "1", CreationTimestamp: metav1.Now()},
		Spec:       redoubt.InvocationSpec{Function: "f"},
	}
}

// attempted begins an invocation and waits until no attempt is under way.
func attempted(t *testing.T, o *oneInvocation, live client.Reader, c *caller) redoubt.InvocationPhase {
	t.Helper()
	r := &invocationReconciler{client: o, live: live, caller: c, running: map[string]map[types.UID]bool{}}
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "n", Name: "i"}}); err != nil {
		t.Fatal(err)
	}
	for range 3000 {
		r.mu.Lock()
		left := len(r.running)
		r.mu.Unlock()
		if left == 0 {
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.now.Status.Phase
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the attempt never ends")
	return ""
}

// An invocation is made though the API server could not be read when it began.
func TestAttemptOutlastsTheAPIServer(t *testing.T) {
	c, _ := called(t, 200)
	if phase := attempted(t, &oneInvocation{now: pending()}, &restarting{fails: 1, now: *pending()}, c); phase != redoubt.InvocationSucceeded {
		t.Errorf("it is %q", phase)
	}
}

// One that was deleted and made again leaves its place to others, and is not
// called in the other's name.
func TestAttemptOfAnother(t *testing.T) {
	c, _ := called(t, 200)
	other := pending()
	other.UID = "2"
	if phase := attempted(t, &oneInvocation{now: pending()}, &restarting{now: *other}, c); phase != "" {
		t.Errorf("it is %q", phase)
	}
}

// An empty answer takes the place of that of an earlier attempt, of which the
// cache does not know.
func TestRecordEmptyAnswer(t *testing.T) {
	failed := pending()
	failed.Status = redoubt.InvocationStatus{Phase: redoubt.InvocationPending, Code: 500, Attempts: 1, Answer: []byte("boom")}
	for body, want := range map[string]string{"": `"answer":null`, "any": `"answer":"YW55"`} {
		o := &oneInvocation{now: failed.DeepCopy()}
		r := &invocationReconciler{client: o}
		err := r.record(t.Context(), failed, outcome{phase: redoubt.InvocationSucceeded, answer: answer{code: 204, body: []byte(body)}, called: true, reached: true})
		if err != nil || !strings.Contains(o.patch, want) {
			t.Errorf("answered %q: %v, %s", body, err, o.patch)
		}
	}
}
