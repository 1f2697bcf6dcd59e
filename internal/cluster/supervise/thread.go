package supervise

import (
	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/thread"
)

// inside is one operating-system thread inside a network namespace. Children
// are forked from it, for two reasons: they inherit its namespace, and the
// kernel sends a parent-death signal when the forking *thread* ends
// (prctl(2)), so that must be one which lives as long as the process.
type inside struct{ work chan func() }

func goInside(path string) (*inside, error) {
	t := &inside{work: make(chan func())}
	entered := make(chan error)
	thread.Go(func() {
		err := netns.Enter(path)
		entered <- err
		if err != nil {
			return
		}
		for f := range t.work {
			f()
		}
	})
	return t, <-entered
}

// run calls f on the thread.
func (t *inside) run(f func() error) error {
	done := make(chan error)
	t.work <- func() { done <- f() }
	return <-done
}
