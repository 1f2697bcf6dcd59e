package measure

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"text/tabwriter"
	"time"
)

// Run is everything that one call of the benchmarks found out.
type Run struct {
	At      time.Time `json:"at"`
	Kernel  string    `json:"kernel"`
	CPUs    int       `json:"cpus"`
	Go      string    `json:"go"`
	Results []Result  `json:"results"`
}

// NewRun describes this machine.
func NewRun(results []Result) Run {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return Run{At: time.Now().UTC(), Kernel: string(kernel[:max(len(kernel)-1, 0)]), CPUs: runtime.NumCPU(), Go: runtime.Version(), Results: results}
}

// Save writes the run as JSON.
func (r Run) Save(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	return nil
}

// Table prints results for people, suite by suite.
func Table(out io.Writer, results []Result) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	var suite string
	for _, r := range results {
		if r.Suite != suite {
			suite = r.Suite
			fmt.Fprintf(w, "\t\t\t\t\t\t\n%s\tsubject\tmetric\tn\tp50\tp95\tratio\tbar\t\n", suite)
		}
		fmt.Fprintf(w, "\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t\n", r.Subject, r.Metric, r.Samples, value(r.P50, r.Unit), value(r.P95, r.Unit), ratio(r), bar(r))
	}
	return w.Flush()
}

func value(v float64, unit string) string { return fmt.Sprintf("%.1f %s", v, unit) }

func ratio(r Result) string {
	if r.Ratio == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", r.Ratio)
}

func bar(r Result) string {
	switch {
	case r.Bar == 0:
		return ""
	case r.Over():
		return fmt.Sprintf("over %g", r.Bar)
	}
	return fmt.Sprintf("within %g", r.Bar)
}
