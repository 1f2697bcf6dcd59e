package builds

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// A result that is stored stays so when the condition cannot be written at once,
// though its pod, which has handed it over, has ended by then.
func TestAResultIsSaidAgain(t *testing.T) {
	var mu sync.Mutex
	var said [][]byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		said = append(said, body)
		w.Header().Set("Content-Type", "application/json")
		if len(said) == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, `{"kind":"Pod","apiVersion":"v1"}`)
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(client, "node", "")
	if err != nil {
		t.Fatal(err)
	}
	stored := 0
	b.keep = func(context.Context, *corev1.Pod) error {
		stored++
		return nil
	}
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name, pod.UID = "n", "build", "u"
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	look := func() error {
		t.Helper()
		if err := b.informer.GetStore().Add(pod); err != nil {
			t.Fatal(err)
		}
		return b.look(t.Context(), "n/build")
	}
	if err := look(); err == nil {
		t.Error("a condition that could not be written is not said again")
	}
	pod = pod.DeepCopy()
	pod.Status.Phase, pod.Status.Conditions = corev1.PodSucceeded, nil
	for range 2 {
		if err := look(); err != nil {
			t.Error(err)
		}
	}
	if stored != 1 || len(said) != 2 || !bytes.Contains(said[1], []byte(`"status":"True"`)) {
		t.Errorf("stored %d times, said %q", stored, said)
	}
	if err := b.informer.GetStore().Delete(pod); err != nil {
		t.Fatal(err)
	}
	if err := b.look(t.Context(), "n/build"); err != nil || len(b.judged) != 0 {
		t.Errorf("%d pods that are gone are known, %v", len(b.judged), err)
	}
}
