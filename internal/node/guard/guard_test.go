package guard

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	"redoubt.dev/redoubt/internal/sandbox"
)

// A method of another form would not be asked, without a word.
var _ stub.CreateContainerInterface = (*Guard)(nil)

// remembered is a cache that holds what it is made with.
type remembered struct {
	cache.Cache
	client.Client
}

func (r remembered) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	return r.Client.Get(ctx, key, obj, opts...)
}

func (r remembered) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return r.Client.List(ctx, list, opts...)
}

// silent is an API server that does not answer.
type silent struct{ client.Reader }

func (silent) Get(ctx context.Context, _ client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestContainersAreJudged asks about containers of sandboxes that are there: as
// when a floor was raised, or nobody was asked about the sandbox.
func TestContainersAreJudged(t *testing.T) {
	scheme := k8sruntime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), redoubt.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	class := func(handler, isolation string) *nodev1.RuntimeClass {
		return &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: handler, Labels: map[string]string{sandbox.IsolationLabel: isolation}}, Handler: handler}
	}
	has := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "here"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "open"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "acme", Labels: map[string]string{redoubt.TenantLabel: "acme"}}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "orphan", Labels: map[string]string{redoubt.TenantLabel: "nobody"}}},
		&redoubt.Tenant{ObjectMeta: metav1.ObjectMeta{Name: "acme"}, Spec: redoubt.TenantSpec{Floor: "kernel"}},
		class("runc", "process"), class("gvisor", "kernel"),
	).Build()
	g := &Guard{facts: &facts{node: "here", known: remembered{Client: has}, live: silent{}}, say: record.NewFakeRecorder(10)}
	for _, test := range []struct {
		namespace, handler string
		refused            bool
	}{
		{"acme", "runc", true},
		{"acme", "gvisor", false},
		{"open", "runc", false},
		{"orphan", "gvisor", true},
		{"unknown", "gvisor", true},
	} {
		_, _, err := g.CreateContainer(t.Context(), &api.PodSandbox{Namespace: test.namespace, Name: "p", RuntimeHandler: test.handler}, nil)
		if (err != nil) != test.refused {
			t.Errorf("%s in %s: %v, refused should be %t", test.handler, test.namespace, err, test.refused)
		}
	}
}

// TestMachinesOfWhichTheNodeSaysNothingYet: the label is away when the node role
// starts, and stays away while it tries a machine. What runs goes on until then,
// what is new waits.
func TestMachinesOfWhichTheNodeSaysNothingYet(t *testing.T) {
	scheme := k8sruntime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), redoubt.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, learned, says, floor string
		want                       result
	}{
		{"not known yet", "microvm", "", "vm", unknown},
		{"under KVM", "microvm", "vm", "vm", keeps},
		{"emulated", "microvm", "vm-emulated", "vm", below},
		{"not known yet, and of no matter", "microvm", "", "process", keeps},
		{"nobody will say", "", "", "vm", below},
	} {
		t.Run(test.name, func(t *testing.T) {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "here", Labels: map[string]string{sandbox.NodePrefix + "microvm": "true"}}}
			if test.says != "" {
				node.Labels[sandbox.NodeIsolation("microvm")] = test.says
			}
			has := fake.NewClientBuilder().WithScheme(scheme).WithObjects(node,
				&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "acme", Labels: map[string]string{redoubt.TenantLabel: "acme"}}},
				&redoubt.Tenant{ObjectMeta: metav1.ObjectMeta{Name: "acme"}, Spec: redoubt.TenantSpec{Floor: test.floor}},
			).Build()
			f := &facts{node: "here", learned: test.learned, known: remembered{Client: has}, live: silent{}}
			if got := f.judge(t.Context(), "acme", "microvm"); got.result != test.want {
				t.Errorf("%+v, want %v", got, test.want)
			}
		})
	}
}

// stuck is a container runtime that never ends to stop one sandbox.
type stuck struct {
	runtime.RuntimeServiceClient
	never   string
	stopped chan string
}

func (s *stuck) StopPodSandbox(ctx context.Context, r *runtime.StopPodSandboxRequest, _ ...grpc.CallOption) (*runtime.StopPodSandboxResponse, error) {
	if r.PodSandboxId == s.never {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.stopped <- r.PodSandboxId
	return &runtime.StopPodSandboxResponse{}, nil
}

// TestOneThatDoesNotEndKeepsNoOther stops three sandboxes, of which the first
// does not end. Each is thawed before.
func TestOneThatDoesNotEndKeepsNoOther(t *testing.T) {
	client := &stuck{never: "a", stopped: make(chan string, 3)}
	thawed := make(chan string, 3)
	g := &Guard{opts: Options{Thaw: func(uid string) { thawed <- uid }}}
	var all []*runtime.PodSandbox
	for _, id := range []string{"a", "b", "c"} {
		all = append(all, &runtime.PodSandbox{Id: id, Metadata: &runtime.PodSandboxMetadata{Uid: id}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- g.stop(ctx, client, all) }()
	take := func(from chan string, n int) (got []string) {
		for range n {
			select {
			case one := <-from:
				got = append(got, one)
			case <-time.After(20 * time.Second): // less than a stop may take
				t.Fatalf("after %v nothing came", got)
			}
		}
		slices.Sort(got)
		return got
	}
	if got := take(client.stopped, 2); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("stopped are %v", got)
	}
	if got := take(thawed, 3); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("thawed are %v", got)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("that one could not be stopped is not said")
	}
}
