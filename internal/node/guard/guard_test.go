package guard

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

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
