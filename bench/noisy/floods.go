package noisy

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// flood is what the noisy tenant does: a script in a pod, or requests.
type flood struct {
	name   string
	script string
	// wave makes requests once, as one of several that do so over and over.
	wave func(ctx context.Context, t *town, n int)
}

var floods = []flood{
	{name: "work", script: `for i in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait`},
	{name: "processes", script: `bomb() { bomb | bomb & }; bomb; while :; do /busybox sleep 1; done`},
	{name: "memory", script: `while :; do /busybox head -c 1000000000 /dev/zero | /busybox tail -c 1000000000 > /dev/null; done`},
	{name: "open files", script: `for p in 1 2 3 4 5 6 7 8; do ( i=10; while [ $i -lt 900 ]; do eval "exec $i</busybox"; i=$((i+1)); done; /busybox sleep 3600 ) & done; while :; do /busybox ls -lR /proc > /dev/null 2>&1; done`},
	{name: "files", script: `n=0; while :; do n=$((n+1)); : > /data/$n; done`},
	{name: "data", script: `while :; do /busybox dd if=/dev/zero of=/data/big bs=1M count=512; done 2>/dev/null`},
	{name: "logs", script: `while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done`},
	{name: "requests", wave: func(ctx context.Context, t *town, _ int) { _, _ = t.request(ctx, noisy, "web") }},
	{name: "cold starts", wave: func(ctx context.Context, t *town, n int) { _, _ = t.request(ctx, noisy, cold(n%colds)) }},
}

// waves is how many clients flood at the same time, breath what each waits
// between two requests: what the clients take is not the platform's.
const (
	waves  = 16
	breath = 20 * time.Millisecond
)

// begin lets a flood come; end stops it.
func (t *town) begin(ctx context.Context, f flood) (end func() error, err error) {
	if f.wave == nil {
		return t.run(ctx, f.script)
	}
	ctx, cancel := context.WithCancel(ctx)
	var clients sync.WaitGroup
	for n := range waves {
		clients.Go(func() {
			for ctx.Err() == nil {
				f.wave(ctx, t, n)
				time.Sleep(breath)
			}
		})
	}
	return func() error { cancel(); clients.Wait(); return nil }, nil
}

// colds is how many services the noisy tenant has without an instance.
const colds = 8

func cold(n int) string { return fmt.Sprintf("cold-%d", n) }
