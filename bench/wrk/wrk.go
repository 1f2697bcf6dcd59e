// Package wrk measures servers with wrk, which takes little of the processors that
// they share.
package wrk

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"redoubt.dev/redoubt/internal/cluster/netns"
)

// Sample is one measurement: requests a second, and latencies in milliseconds.
type Sample struct{ Rate, P50, P99 float64 }

// Run asks address with a host's name from a network namespace, or from this
// process's own where ns is empty. Requests that fail are an error.
func Run(ctx context.Context, ns, address, host string, connections int, duration time.Duration) (Sample, error) {
	cmd := exec.CommandContext(ctx, "wrk", "--threads=1", fmt.Sprintf("--connections=%d", connections),
		"--duration="+duration.String(), "--latency", "--header=Host: "+host, "http://"+address+"/")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	start := cmd.Start
	if ns != "" {
		start = func() error { return netns.Do(ns, cmd.Start) }
	}
	if err := start(); err != nil {
		return Sample{}, fmt.Errorf("start wrk (Debian package wrk): %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return Sample{}, fmt.Errorf("wrk: %w\n%s", err, out.String())
	}
	return read(out.String())
}

var (
	rateLine    = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	latencyLine = regexp.MustCompile(`(50|99)%\s+([0-9.]+)(us|ms|s)`)
	faultLine   = regexp.MustCompile(`(Socket errors|Non-2xx).*`)
)

// read takes the numbers from wrk's report. Requests that failed make all of
// them worthless.
func read(report string) (s Sample, err error) {
	if fault := faultLine.FindString(report); fault != "" {
		return Sample{}, fmt.Errorf("wrk: %s", fault)
	}
	rate := rateLine.FindStringSubmatch(report)
	latencies := latencyLine.FindAllStringSubmatch(report, -1)
	if rate == nil || len(latencies) != 2 {
		return Sample{}, fmt.Errorf("wrk's report is not understood:\n%s", report)
	}
	s.Rate, err = strconv.ParseFloat(rate[1], 64)
	for _, l := range latencies {
		value, failed := strconv.ParseFloat(l[2], 64)
		err = errors.Join(err, failed)
		value *= map[string]float64{"us": 0.001, "ms": 1, "s": 1000}[l[3]]
		if l[1] == "50" {
			s.P50 = value
		} else {
			s.P99 = value
		}
	}
	return s, err
}
