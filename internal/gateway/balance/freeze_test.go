package balance

import (
	"net/netip"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// node is a keeper whose node answers when it is told to.
type node struct {
	away     bool
	released []string
	holds    map[string]chan struct{}
}

func (n *node) Connected(*Instance) bool { return !n.away }
func (n *node) Release(i *Instance)      { n.released = append(n.released, i.Name) }
func (n *node) Hold(i *Instance) <-chan struct{} {
	n.holds[i.Name] = make(chan struct{})
	return n.holds[i.Name]
}

func idle(t *testing.T, freeze time.Duration) (*Revision, *node) {
	t.Helper()
	n := &node{holds: map[string]chan struct{}{}}
	r := New(types.NamespacedName{Namespace: "a", Name: "b"}, Settings{Timeout: time.Minute, Freeze: freeze}, func(*Revision) {}, func(string) Tenant { return nil })
	r.Add(NewInstance("one", netip.MustParseAddrPort("127.0.0.1:1"), func(*Instance) {}).Kept(n, "uid", netip.MustParseAddr("127.0.0.1")))
	return r, n
}

func TestIdleInstancesAreReleased(t *testing.T) {
	for _, test := range []struct {
		name   string
		freeze time.Duration
		after  time.Duration
		active bool
		away   bool
		want   int
	}{
		{"idle", time.Second, 2 * time.Second, false, false, 1},
		{"not for long enough", time.Minute, 2 * time.Second, false, false, 0},
		{"never", 0, time.Hour, false, false, 0},
		{"has a request", time.Second, time.Hour, true, false, 0},
		{"node does not listen", time.Second, time.Hour, false, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, n := idle(t, test.freeze)
			n.away = test.away
			now := time.Now()
			if test.active {
				if _, _, err := r.Enter(now, nil); err != nil {
					t.Fatal(err)
				}
			}
			r.Rest(now.Add(test.after))
			r.Rest(now.Add(test.after)) // once is enough
			if len(n.released) != test.want {
				t.Errorf("released %v, want %d", n.released, test.want)
			}
		})
	}
}

func TestRequestsWaitForTheThaw(t *testing.T) {
	r, n := idle(t, time.Second)
	r.Rest(time.Now().Add(time.Hour))
	entered := make(chan *Instance)
	for range 2 {
		go func() {
			i, _, err := r.Enter(time.Now(), nil)
			if err != nil {
				t.Error(err)
			} else if err := r.Awake(i, time.Now(), nil); err != nil {
				t.Error(err)
			}
			entered <- i
		}()
	}
	for r.Load(time.Now()).Active < 2 {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-entered:
		t.Fatal("a request went on before its instance ran")
	case <-time.After(20 * time.Millisecond):
	}
	close(n.holds["one"])
	for range 2 {
		r.Leave(time.Now(), <-entered)
	}
	if len(n.holds) != 1 {
		t.Errorf("asked %d times", len(n.holds))
	}
	r.Rest(time.Now().Add(time.Hour))
	if len(n.released) != 2 {
		t.Errorf("released %d times, want again after the requests", len(n.released))
	}
}

func TestGivingUpLeavesTheInstance(t *testing.T) {
	r, _ := idle(t, time.Second)
	r.Rest(time.Now().Add(time.Hour))
	gone := make(chan struct{})
	close(gone)
	i, _, err := r.Enter(time.Now(), gone)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Awake(i, time.Now(), gone); err == nil {
		t.Fatal("a frozen instance is said to run")
	}
	r.Leave(time.Now(), i)
	if active := r.ready[0].active; active != 0 {
		t.Errorf("%d requests are left", active)
	}
}

func TestRunningInstancesComeFirst(t *testing.T) {
	r, n := idle(t, time.Second)
	r.Rest(time.Now().Add(time.Hour))
	r.Add(NewInstance("two", netip.MustParseAddrPort("127.0.0.1:2"), func(*Instance) {}).Kept(n, "uid2", netip.MustParseAddr("127.0.0.1")))
	for range 4 {
		i, _, err := r.Enter(time.Now(), nil)
		if err != nil || i.Name != "two" {
			t.Fatalf("got %v, %v; want the instance that runs", i, err)
		}
		r.Leave(time.Now(), i)
	}
}

func TestRemovedInstancesAreHeld(t *testing.T) {
	r, n := idle(t, time.Second)
	r.Rest(time.Now().Add(time.Hour))
	r.Remove(r.ready[0])
	if len(n.holds) != 1 {
		t.Error("an instance that is on its way out stays frozen")
	}
}
