package cli

import (
	"maps"
	"strings"
	"testing"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

func TestScaleAnnotations(t *testing.T) {
	for _, tc := range []struct {
		args  []string
		wants map[string]string
		says  string
	}{
		{args: []string{"--min", "0"}, wants: map[string]string{serving.MinScaleAnnotation: "0"}},
		{args: []string{"--max", "5", "--metric", "qps", "--value", "50"}, wants: map[string]string{
			serving.MaxScaleAnnotation: "5", serving.MetricAnnotation: "rps", serving.TargetAnnotation: "50",
		}},
		{args: []string{"--metric", "concurrency"}, wants: map[string]string{serving.MetricAnnotation: "concurrency"}},
		{says: "say how to scale"},
		{args: []string{"--metric", "cpu", "--value", "50"}, wants: map[string]string{serving.MetricAnnotation: "cpu", serving.TargetAnnotation: "50"}},
		{args: []string{"--metric", "qps"}, says: "needs --value"},
		{args: []string{"--metric", "memory"}, says: "none of qps, concurrency and cpu"},
		{args: []string{"--value", "-1"}, says: "no number above zero"},
		{args: []string{"--value", "half"}, says: "no number above zero"},
	} {
		w := &scaleWriter{}
		cmd := newAutoscaleWriter(w)
		if err := cmd.ParseFlags(tc.args); err != nil {
			t.Fatal(err)
		}
		got, err := w.annotations()
		if tc.says != "" {
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v: %v, want %q", tc.args, err, tc.says)
			}
			continue
		}
		if err != nil || !maps.Equal(got, tc.wants) {
			t.Errorf("%v: %v, %v", tc.args, got, err)
		}
	}
}

func TestTopReadsMetrics(t *testing.T) {
	u := &functionUsage{methods: map[string]callCounts{}}
	u.read(strings.NewReader(`# TYPE function_calls_total counter
function_calls_total{method="POST"} 3
function_failures_total{method="POST"} 1
function_duration_seconds_sum{method="POST"} 1.5
function_calls_total{method="GET"} x
function_calls_total{method="` + "\x1b[31m" + `"} 1
function_calls_total{method="` + strings.Repeat("A", 1000) + `"} 1
process_calls_total{method="PUT"} 1
nothing
`))
	u.read(strings.NewReader("function_calls_total{method=\"POST\"} 2\n"))
	if len(u.methods) != 1 || u.methods["POST"] != (callCounts{5, 1, 1.5}) {
		t.Errorf("read %v", u.methods)
	}
}
