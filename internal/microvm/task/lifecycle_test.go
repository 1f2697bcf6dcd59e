package task

import (
	"fmt"
	"testing"

	api "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestExecsAreLimited(t *testing.T) {
	s, c := &Service{}, &container{id: "app", execs: map[string]*process{}}
	what, err := typeurl.MarshalAnyToProto(&specs.Process{})
	if err != nil {
		t.Fatal(err)
	}
	add := func(n int) error {
		return s.exec(c, &api.ExecProcessRequest{ExecID: fmt.Sprint(n), Spec: what})
	}
	for n := range maxExecs {
		if err := add(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(maxExecs); !errdefs.IsResourceExhausted(err) {
		t.Errorf("one too many: %v", err)
	}
	delete(c.execs, "0")
	if err := add(maxExecs); err != nil {
		t.Errorf("in the place of one that is gone: %v", err)
	}
}
