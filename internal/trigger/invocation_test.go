package trigger

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

func TestJudgeAnswer(t *testing.T) {
	retries := int32(2)
	bad := errors.New("answered")
	for title, tc := range map[string]struct {
		attempts, unreached int32
		answer              answer
		reached             bool
		failed              error
		phase               redoubt.InvocationPhase
		reason              string
	}{
		"an answer":          {0, 0, answer{code: 200}, true, nil, redoubt.InvocationSucceeded, ""},
		"too large":          {0, 0, answer{code: 200, tooLarge: true}, true, nil, redoubt.InvocationFailed, "AnswerTooLarge"},
		"first failure":      {0, 0, answer{code: 500}, true, bad, redoubt.InvocationPending, "FunctionFailed"},
		"large failure":      {0, 0, answer{code: 500, tooLarge: true}, true, bad, redoubt.InvocationPending, "FunctionFailed"},
		"last failure":       {2, 0, answer{code: 500}, true, bad, redoubt.InvocationFailed, "FunctionFailed"},
		"never another":      {0, 0, answer{code: 400}, true, bad, redoubt.InvocationFailed, "FunctionFailed"},
		"out of time":        {0, 0, answer{code: 408}, true, bad, redoubt.InvocationPending, "FunctionFailed"},
		"nobody":             {2, 2, answer{code: 503}, false, bad, redoubt.InvocationPending, "Unreached"},
		"nobody, then a 500": {9, 7, answer{code: 500}, true, bad, redoubt.InvocationFailed, "FunctionFailed"},
		"never anybody":      {99, 99, answer{}, false, bad, redoubt.InvocationFailed, "Unreached"},
	} {
		i := &redoubt.Invocation{Spec: redoubt.InvocationSpec{Retries: &retries}, Status: redoubt.InvocationStatus{Attempts: tc.attempts, Unreached: tc.unreached}}
		if o := judgeAnswer(i, tc.answer, tc.reached, tc.failed); o.phase != tc.phase || o.reason != tc.reason {
			t.Errorf("%s: %s, %s", title, o.phase, o.reason)
		}
	}
	for attempts, want := range map[int32]time.Duration{0: time.Second, 3: 8 * time.Second, 6: time.Minute, 99: time.Minute} {
		if got := pauseAfter(attempts); got != want {
			t.Errorf("after attempt %d: %v, want %v", attempts+1, got, want)
		}
	}
}

// What failed is kept longer than what was answered or never called.
func TestExpiry(t *testing.T) {
	ttl, end := int64(60), metav1.NewMicroTime(time.Unix(1000, 0))
	for phase, attempts := range map[redoubt.InvocationPhase]int32{redoubt.InvocationSucceeded: 1, redoubt.InvocationFailed: 0} {
		i := &redoubt.Invocation{Spec: redoubt.InvocationSpec{TTLSecondsAfterFinished: &ttl}, Status: redoubt.InvocationStatus{Phase: phase, Attempts: attempts, CompletionTime: &end}}
		if got := expiry(i).Sub(end.Time); got != time.Minute {
			t.Errorf("%s after %d attempts is kept for %v", phase, attempts, got)
		}
	}
	i := &redoubt.Invocation{Spec: redoubt.InvocationSpec{TTLSecondsAfterFinished: &ttl}, Status: redoubt.InvocationStatus{Phase: redoubt.InvocationFailed, Attempts: 5, CompletionTime: &end}}
	if got := expiry(i).Sub(end.Time); got != failedTTL {
		t.Errorf("one that failed is kept for %v", got)
	}
}

// manyInvocations is a namespace's, in an API server.
type manyInvocations struct {
	client.Client
	all     []redoubt.Invocation
	removed []string
}

func (m *manyInvocations) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*redoubt.InvocationList).Items = slices.Clone(m.all)
	return nil
}

func (m *manyInvocations) Delete(_ context.Context, i client.Object, _ ...client.DeleteOption) error {
	m.removed = append(m.removed, i.GetName())
	return nil
}

// The latest are kept, however long those before them may stay.
func TestPrune(t *testing.T) {
	m := &manyInvocations{}
	for n := range maxFinished + 2 {
		at := metav1.NewMicroTime(time.Unix(int64(n), 0))
		i := redoubt.Invocation{ObjectMeta: metav1.ObjectMeta{Name: strconv.Itoa(n)}, Status: redoubt.InvocationStatus{Phase: redoubt.InvocationFailed, Attempts: 1, CompletionTime: &at}}
		if n >= maxFinished {
			i.Status.Phase = redoubt.InvocationSucceeded
		}
		m.all = append(m.all, i)
	}
	if err := (&invocationReconciler{client: m}).prune(t.Context(), "n"); err != nil || !slices.Equal(m.removed, []string{"0", "1"}) {
		t.Errorf("removed %v, %v", m.removed, err)
	}
}

// What is kept of an answer is bounded.
func TestAskBoundsAnswers(t *testing.T) {
	c, _ := called(t, 200)
	e := event{namespace: "n", function: "f", kind: "text/plain"}
	a, reached, err := c.ask(t.Context(), e, 10)
	if err != nil || !reached || a.tooLarge || a.code != 200 {
		t.Errorf("%+v, %v, %v", a, reached, err)
	}
	site, _ := calledWith(t, "0123456789x")
	if a, _, err = site.ask(t.Context(), e, 10); err != nil || !a.tooLarge || string(a.body) != "0123456789" {
		t.Errorf("%+v, %v", a, err)
	}
}
