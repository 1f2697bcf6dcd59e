package simulate

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// setup has instances that take this many requests at a time; annotations are
// names and values.
func setup(concurrency int64, annotations ...string) Setup {
	rev := &serving.Revision{}
	rev.Spec.ContainerConcurrency = concurrency
	rev.Annotations = map[string]string{}
	for pair := range slices.Chunk(annotations, 2) {
		rev.Annotations[pair[0]] = pair[1]
	}
	return Setup{Class: Class{"test", time.Second, 50 * time.Millisecond}, Revision: rev, Service: service, Late: late, Queue: queue}
}

func simulated(t *testing.T, s Setup, rates []float64) *Outcome {
	t.Helper()
	o, err := Simulate(s, rates)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestNothingIsLostBelowTheQueuesBound(t *testing.T) {
	for _, load := range loads {
		o := simulated(t, setup(1), load.Rates)
		if o.Lost != 0 || o.Requests == 0 || len(o.waits) != o.Requests {
			t.Errorf("%s: of %d requests %d were answered and %d lost", load.Name, o.Requests, len(o.waits), o.Lost)
		}
		if o.Running < o.Least || o.MostPods < 1 {
			t.Errorf("%s: %d pods ran for %v, less than the work of %v", load.Name, o.MostPods, o.Running, o.Least)
		}
	}
	small := setup(1)
	small.Queue = 10
	o := simulated(t, small, shape(10, func(int) float64 { return 100 }))
	if o.Lost == 0 || o.Lost+len(o.waits) != o.Requests {
		t.Errorf("a queue of 10: of %d requests %d were answered and %d lost", o.Requests, len(o.waits), o.Lost)
	}
}

func TestGoesToZeroAfterTheWindow(t *testing.T) {
	rates := shape(60, func(int) float64 { return 1 })
	for _, test := range []struct {
		setup  Setup
		after  time.Duration // the load, in which the last request may be a few seconds old
		frozen bool
	}{
		{setup(1, serving.FreezeAnnotation, serving.FreezeNever), time.Minute, false},
		{setup(1, serving.FreezeAnnotation, serving.FreezeNever, serving.WindowAnnotation, "20s"), 20 * time.Second, false},
		{setup(1), time.Minute + serving.FrozenRetention, true},
	} {
		o := simulated(t, test.setup, rates)
		if zero := o.Ended - time.Minute; zero < test.after-5*time.Second || zero > test.after+5*time.Second {
			t.Errorf("%v: the last instance went %v after the load, want about %v", test.setup.Revision.Annotations, zero, test.after)
		}
		if (o.Frozen > 0) != test.frozen {
			t.Errorf("%v: frozen for %v", test.setup.Revision.Annotations, o.Frozen)
		}
	}
}

func TestFrozenInstanceAnswersAfterAThaw(t *testing.T) {
	o := simulated(t, setup(10), shape(301, func(s int) float64 { return when(s%60 == 0, 2, 0) }))
	if o.Late == 0 || o.Late > 3 || o.Wait(0.5) == 0 || o.Wait(0.5) > 50 {
		t.Errorf("%d of %d requests were late, half of them waited for more than %v ms; want those of the cold start alone to be late", o.Late, o.Requests, o.Wait(0.5))
	}
}

func TestTheSameInputGivesTheSameOutput(t *testing.T) {
	for _, load := range loads {
		if a, b := simulated(t, setup(3), load.Rates), simulated(t, setup(3), load.Rates); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: two outcomes", load.Name)
		}
	}
}

func TestMoreConcurrencyNeverNeedsMorePods(t *testing.T) {
	for _, load := range loads {
		before := 1 << 30
		for _, concurrency := range []int64{1, 2, 5, 20, 100} {
			o := simulated(t, setup(concurrency), load.Rates)
			if o.MostPods > before {
				t.Errorf("%s: %d pods of concurrency %d, and %d of less", load.Name, o.MostPods, concurrency, before)
			}
			before = o.MostPods
		}
	}
}

func TestScaleIsBounded(t *testing.T) {
	o := simulated(t, setup(1, serving.MinScaleAnnotation, "2", serving.MaxScaleAnnotation, "3"), shape(60, func(int) float64 { return 20 }))
	if o.MostPods != 3 {
		t.Errorf("%d pods at most, want 3", o.MostPods)
	}
	if _, err := Simulate(setup(1, serving.MinScaleAnnotation, "many"), []float64{1}); err == nil {
		t.Error("a bad annotation was accepted")
	}
	if _, err := Simulate(setup(0), []float64{1}); err == nil {
		t.Error("instances without a bound of their concurrency were accepted")
	}
}

func TestTrace(t *testing.T) {
	got, err := parseTrace(strings.NewReader("# recorded\n1,2.5\n3, 0\n4,7\n"))
	if want := []float64{0, 2.5, 2.5, 0, 7}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for text, want := range map[string]string{
		"":                     "no rows",
		"0,1\nsecond,rate\n":   "line 2: second",
		"0,1\n0,2\n":           "later than the row before",
		"86400,1\n":            "below 86400",
		"-1,1\n":               "line 1: second",
		"0,-1\n":               "line 1: rate",
		"0,NaN\n":              "line 1: rate",
		"0,Inf\n":              "line 1: rate",
		"0,1,2\n":              "wrong number of fields",
		"0,4000000\n80000,1\n": "more than 5000000 requests",
		"0,3000000\n1,3000000": "line 2: more than 5000000 requests",
		"0,1\n1,\"2\n3,4\n5,6": "line",
	} {
		if _, err := parseTrace(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	path := filepath.Join(t.TempDir(), "load.csv")
	if err := os.WriteFile(path, bytes.Repeat([]byte("#\n"), maxTrace), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTrace(path); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("a file of %d bytes: %v", 2*maxTrace, err)
	}
}
