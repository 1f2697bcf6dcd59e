package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
)

func newFunctionCall(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	r := &requestFlags{}
	var async bool
	cmd := &cobra.Command{
		Use:   "call NAME",
		Short: "Call a function and print its answer",
		Long: `Call a function and print its answer. Data that is JSON is sent as such, so that
the function gets an object; other data reaches it as text, or as bytes where
it is not UTF-8.`,
		Example: `  redoubt function call hello -d 'Hello world!'
  redoubt function call report --async -d '{"year": 2026}'
  redoubt function call resize -d @photo.jpg -H 'Content-Type: image/jpeg' > small.jpg`,
		Args: oneName("function"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			fn, err := c.function(cmd, args[0])
			if err != nil {
				return err
			}
			if async {
				return c.invoke(cmd, fn.Name, r)
			}
			if fn.Status.URL == "" {
				return fmt.Errorf("function '%s' has no URL yet: %s; see: redoubt function describe %s", fn.Name, functionStatus(fn), fn.Name)
			}
			data, err := r.content(cmd, math.MaxInt64)
			if err != nil {
				return err
			}
			r.headers = withDefaults(r.headers, eventHeaders(data))
			return r.send(cmd, fn.Status.URL, bytes.NewReader(data))
		},
		ValidArgsFunction: complete(f, functions),
	}
	f.register(cmd, false)
	r.register(cmd)
	cmd.Flags().BoolVar(&async, "async", false, "do not wait: print the name of an invocation, for redoubt invocation result")
	return cmd
}

// eventHeaders are what Kubeless's command line tells a function about the
// event.
func eventHeaders(data []byte) []string {
	kind := "text/plain; charset=utf-8"
	if bytes.HasPrefix(data, []byte("{")) || bytes.HasPrefix(data, []byte("[")) {
		if json.Valid(data) {
			kind = "application/json"
		}
	}
	return []string{
		"Content-Type: " + kind,
		"event-type: " + kind,
		"event-id: " + uuid.NewString(),
		"event-time: " + time.Now().UTC().Format(time.RFC3339),
		"event-namespace: cli.kubeless.io",
	}
}

// withDefaults adds the headers that are not given yet.
func withDefaults(given, defaults []string) []string {
	has := map[string]bool{}
	for _, h := range given {
		name, _, _ := strings.Cut(h, ":")
		has[strings.ToLower(strings.TrimSpace(name))] = true
	}
	for _, h := range defaults {
		if name, _, _ := strings.Cut(h, ":"); !has[strings.ToLower(name)] {
			given = append(given, h)
		}
	}
	return given
}
