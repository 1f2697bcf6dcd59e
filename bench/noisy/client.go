package noisy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"

	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/instance"
)

// ClientCommand is the first argument of a process that shall be the quiet
// tenant's client.
const ClientCommand = "noisy-client"

// group is the control group of that process. It stands for a client elsewhere,
// which no flood reaches: outside the instance's groups it would wait for
// processors, seconds on some kernels (decision headroom), and that would count
// as the platform's time.
const group = "engine/client"

// warm is how many requests the client makes before those that count.
const warm = 20

// listen has a client make requests to the quiet tenant, and returns how long
// each took, in milliseconds.
func (t *town) listen(ctx context.Context) (times []float64, err error) {
	groups, err := cgroup.New(t.platform.Inst.ID())
	if err != nil {
		return nil, err
	}
	if err := groups.Create(group); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", ClientCommand, strconv.Itoa(t.platform.State.HTTPPort))
	var out, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failed
	begin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	err = groups.Add(group, cmd.Process.Pid)
	if err = errors.Join(err, begin.Close(), cmd.Wait()); err != nil {
		return nil, fmt.Errorf("%w: %s", err, failed.String())
	}
	return times, json.Unmarshal(out.Bytes(), &times)
}

// Client is the quiet tenant's client. It begins when its standard input ends, and
// writes what its requests took.
func Client(port string) error {
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	t := &town{http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: patience},
		platform: &platform.Platform{State: instance.State{HTTPPort: number}}}
	ctx := context.Background()
	for range warm {
		if _, err := t.request(ctx, quiet, "web"); err != nil {
			return err
		}
	}
	times, err := t.pace(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(times)
}

// pace makes requests to the quiet tenant at a steady pace, whatever the answers
// take.
func (t *town) pace(ctx context.Context) (times []float64, err error) {
	type answer struct {
		took float64
		err  error
	}
	n := int(length / pause)
	answers := make(chan answer, n)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for range n {
		<-tick.C
		go func() {
			took, err := t.request(ctx, quiet, "web")
			answers <- answer{took, err}
		}()
	}
	var failed error
	lost := 0
	for range n {
		a := <-answers
		if a.err != nil {
			failed, lost = a.err, lost+1
		}
		times = append(times, a.took)
	}
	if failed != nil {
		return nil, fmt.Errorf("%d of %d requests failed, one of them: %w", lost, n, failed)
	}
	return times, nil
}
