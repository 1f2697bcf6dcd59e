package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

// functionReady waits until fn is ready as it is now, prints what it says of
// itself meanwhile, and asks it whether its source can be loaded.
func (w *waitFlags) functionReady(cmd *cobra.Command, c *connection, fn *kubeless.Function) (*kubeless.Function, error) {
	const interval = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(w.timeout)*time.Second)
	defer cancel()
	p := &progress{out: cmd.ErrOrStderr(), start: time.Now()}
	failed := newFailure(time.Duration(w.window) * time.Second)
	builds, err := newBuildOutput(c, cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	defer builds.copying.Wait()
	defer cancel() // of what still writes
	for said := ""; ; {
		now := &kubeless.Function{}
		if err := c.Get(ctx, c.key(fn.Name), now); err != nil && ctx.Err() == nil {
			return nil, err
		}
		var ready serving.Condition
		if now.Status.ObservedGeneration >= fn.Generation { // else it is of the version before
			ready = now.Status.Conditions.Get(serving.Ready)
		}
		switch {
		case ready.Status == corev1.ConditionTrue:
			p.say("Ready to serve.")
			return now, loads(ctx, now)
		case ready.Reason == "BuildFailed":
			// Its output ends with it, and waiting would change nothing.
			builds.copying.Wait()
			return nil, fmt.Errorf("function '%s' failed: %s", fn.Name, ready.Message)
		case ready.Status == corev1.ConditionFalse:
			failed.begin(fmt.Errorf("function '%s' failed: %s: %s", fn.Name, ready.Reason, ready.Message))
		default:
			failed.clear()
		}
		if ready.Reason == "Building" {
			builds.follow(ctx, c, fn)
		}
		if ready.Message != "" && ready.Message != said {
			p.say(ready.Message)
			said = ready.Message
		}
		select {
		case <-ctx.Done():
			if err := cmd.Context().Err(); err != nil {
				return nil, fmt.Errorf("interrupted while waiting for function '%s', which is deployed: %w", fn.Name, err)
			}
			return nil, fmt.Errorf("timeout: function '%s' not ready after %d seconds%s; see: redoubt function describe %s", fn.Name, w.timeout, p.why(), fn.Name)
		case <-failed.final():
			return nil, failed.err
		case <-time.After(interval):
		}
	}
}

// loads asks the function's server whether it could load the source. It
// answers even when it could not, so that callers learn why; whoever deployed
// the function should not have to call it to know.
func loads(ctx context.Context, fn *kubeless.Function) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fn.Status.URL+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := localClient().Do(req)
	if err != nil {
		return fmt.Errorf("function '%s' is ready, but its URL cannot be reached from here: %w", fn.Name, err)
	}
	defer resp.Body.Close()
	const most = 4096
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return err
	}
	if problem, found := strings.CutPrefix(string(body), "problem: "); found {
		return fmt.Errorf("function '%s' is deployed, but cannot answer: %s", fn.Name, strings.TrimSpace(problem))
	}
	return nil
}
