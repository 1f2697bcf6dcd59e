package test

import (
	"context"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/cri"
	"redoubt.dev/redoubt/test/platform"
)

// TestPolicyIsEditedWhilePodsStart hands a namespace from one tenant to another
// and back, and edits what they may run, while pods at and below the floor are
// created in it: half of them through an API server that lets everything in.
// The container runtime is asked all the while: no container below the floor
// is ever there. Pods at the floor, and the same plain pod where there is no
// floor, run.
func TestPolicyIsEditedWhilePodsStart(t *testing.T) {
	const name, other = "tenant-race", "tenant-race-other"
	newTenant(t, other, redoubt.TenantSpec{Floor: "kernel"}) // it goes last: the namespace may be its own in the end
	newTenant(t, name, redoubt.TenantSpec{Floor: "kernel", DefaultClass: "gvisor"})
	ctx, stop := context.WithCancel(t.Context())
	var background sync.WaitGroup
	t.Cleanup(func() { // before the tenants go
		stop()
		background.Wait()
	})
	background.Go(func() { edit(ctx, t, name, other) })
	seen := watched{}
	background.Go(func() { seen.follow(ctx, t) })
	free := create(t, namespace(t), plain())
	_, refused := createMany(t, name)
	blind(t, name)
	platform.Eventually(t, "the API server is blind", func() error {
		_, err := shared.Cluster.CoreV1().Pods(name).Create(t.Context(), plain(), metav1.CreateOptions{})
		return err
	})
	made, _ := createMany(t, name)
	if refused == 0 || len(made) < 2 {
		t.Errorf("%d pods were refused by an API server that sees, %d let in by one that does not; this shows nothing", refused, len(made))
	}
	at := idle("gvisor")
	running(t, create(t, name, at))
	running(t, free)
	event(t, made[0], "BelowFloor")
	stop()
	background.Wait()
	if len(seen[name]) > 0 || len(seen[free.Namespace]) == 0 {
		t.Errorf("containers that share the node's kernel: %d where none may be, %d where one is: %v", len(seen[name]), len(seen[free.Namespace]), seen)
	}
}

// createMany creates plain pods, several at a time, and says which were let in
// and how many refused.
func createMany(t *testing.T, ns string) (made []*corev1.Pod, refused int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 6 {
				pod, err := shared.Cluster.CoreV1().Pods(ns).Create(t.Context(), plain(), metav1.CreateOptions{})
				mu.Lock()
				if err != nil {
					refused++
				} else {
					made = append(made, pod)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return made, refused
}

// edit goes on changing what is said of a namespace; the floor of both tenants
// is above plain containers at any time.
func edit(ctx context.Context, t *testing.T, name, other string) {
	c := tenants(t)
	patch := func(obj client.Object, body string) {
		err := c.Patch(ctx, obj, client.RawPatch("application/merge-patch+json", []byte(body)))
		if err != nil && ctx.Err() == nil {
			t.Errorf("edit %s: %v", obj.GetName(), err)
		}
	}
	named := func(tenant string) *redoubt.Tenant {
		return &redoubt.Tenant{ObjectMeta: metav1.ObjectMeta{Name: tenant}}
	}
	for ctx.Err() == nil {
		for _, owner := range []string{other, name} {
			patch(named(owner), `{"spec":{"classes":["gvisor"],"allowEmulatedVM":true}}`)
			_, err := shared.Cluster.CoreV1().Namespaces().Patch(ctx, name, "application/merge-patch+json",
				[]byte(`{"metadata":{"labels":{"redoubt.dev/tenant":"`+owner+`"}}}`), metav1.PatchOptions{})
			if err != nil && ctx.Err() == nil {
				t.Errorf("give the namespace away: %v", err)
			}
			patch(named(owner), `{"spec":{"classes":null,"allowEmulatedVM":false}}`)
		}
	}
}

// watched has the containers that share the node's kernel, by namespace.
type watched map[string]map[string]bool

// follow asks the container runtime until ctx ends.
func (w watched) follow(ctx context.Context, t *testing.T) {
	client, conn, err := cri.Connect(shared.Inst.ContainerdSocket())
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	for plain := map[string]bool{}; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		pods, err1 := client.ListPodSandbox(ctx, &runtime.ListPodSandboxRequest{})
		containers, err2 := client.ListContainers(ctx, &runtime.ListContainersRequest{})
		if err1 != nil || err2 != nil {
			continue // it is busy, or this is over
		}
		for _, p := range pods.Items {
			if p.RuntimeHandler == "runc" || p.RuntimeHandler == "" {
				plain[p.Id] = true
			}
		}
		for _, c := range containers.Containers {
			ns := c.Labels["io.kubernetes.pod.namespace"]
			if plain[c.PodSandboxId] && w[ns] == nil {
				w[ns] = map[string]bool{}
			}
			if plain[c.PodSandboxId] {
				w[ns][c.Id] = true
			}
		}
	}
}
