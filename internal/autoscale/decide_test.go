package autoscale

import (
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func settings(t *testing.T, annotations map[string]string, concurrency int64) Settings {
	t.Helper()
	rev := &serving.Revision{}
	rev.Annotations, rev.Spec.ContainerConcurrency = map[string]string{serving.FreezeAnnotation: serving.FreezeNever}, concurrency
	maps.Copy(rev.Annotations, annotations)
	s, err := SettingsOf(rev)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// story plays a load, one value a second, and returns the wanted scale of
// every second. Instances are ready as soon as they are wanted.
func story(s Settings, load []float64) []int32 {
	var w Window
	var memory Memory
	last := start
	scales := make([]int32, len(load))
	var want int32
	for i, value := range load {
		now := start.Add(time.Duration(i) * time.Second)
		if value > 0 {
			last = now
		}
		w.Add(now, value)
		m := Measures{
			Stable: w.Average(now, s.Stable, false), Panic: w.Average(now, s.Panic, false),
			Waiting: value > 0 && want == 0, Ready: want, LastRequest: last,
		}
		want, memory = Decide(s, m, memory, now)
		scales[i] = want
	}
	return scales
}

func steady(value float64, seconds int) []float64 {
	load := make([]float64, seconds)
	for i := range load {
		load[i] = value
	}
	return load
}

func TestSteadyLoadGetsItsInstances(t *testing.T) {
	s := settings(t, nil, 10) // 7 of 10 used per instance
	scales := story(s, steady(70, 120))
	if got := scales[119]; got != 10 {
		t.Errorf("70 requests at a time with 7 per instance: %d instances", got)
	}
}

func TestFirstRequestWakes(t *testing.T) {
	s := settings(t, nil, 0)
	want, _ := Decide(s, Measures{Waiting: true, LastRequest: start}, Memory{}, start)
	if want != 1 {
		t.Errorf("a waiting request: %d instances", want)
	}
}

func TestBurstPanics(t *testing.T) {
	s := settings(t, nil, 10)
	load := append(steady(7, 100), steady(140, 6)...)
	scales := story(s, load)
	if got := scales[105]; got < 15 {
		t.Errorf("six seconds into a burst of 20 instances' load: %d instances", got)
	}
	calm := story(s, append(load, steady(7, 59)...))
	for i := 106; i < 160; i++ {
		if calm[i] < calm[i-1] {
			t.Fatalf("scaled down at second %d, in a panic", i)
		}
	}
}

func TestIdleGoesToZeroAfterTheWindowAndRetention(t *testing.T) {
	s := settings(t, map[string]string{serving.WindowAnnotation: "10s", serving.RetentionAnnotation: "5s"}, 0)
	scales := story(s, append(steady(1, 5), steady(0, 40)...))
	// The last request is in second 4; window and retention end at 19.
	for i, scale := range scales {
		switch {
		case i < 19 && scale != 1:
			t.Fatalf("second %d: %d instances, want 1 until window and retention are over", i, scale)
		case i >= 20 && scale != 0:
			t.Fatalf("second %d: %d instances, want 0", i, scale)
		}
	}
}

func TestBoundsHold(t *testing.T) {
	s := settings(t, map[string]string{serving.MinScaleAnnotation: "2", serving.MaxScaleAnnotation: "3"}, 1)
	for i, scale := range story(s, append(steady(50, 100), steady(0, 200)...)) {
		if scale < 2 || scale > 3 {
			t.Fatalf("second %d: %d instances, want 2 or 3", i, scale)
		}
	}
}

// What is remembered for the delay is the highest wish within it, and no more than
// that takes: decisions are made many times a second while requests wait.
func TestScaleDownDelayRemembersLittle(t *testing.T) {
	s := Settings{ScaleDownDelay: time.Minute}
	var all, recent []Past
	r := rand.New(rand.NewPCG(1, 2))
	for step := range 5000 {
		now := start.Add(time.Duration(step) * 100 * time.Millisecond)
		all = append(all, Past{At: now, Scale: int32(r.IntN(20))})
		var want, got int32
		for _, p := range all {
			if now.Sub(p.At) < s.ScaleDownDelay {
				want = max(want, p.Scale)
			}
		}
		if got, recent = delayed(s, all[step].Scale, recent, now); got != want {
			t.Fatalf("step %d: %d, want %d", step, got, want)
		}
		if len(recent) > 20 {
			t.Fatalf("step %d: %d decisions are remembered", step, len(recent))
		}
	}
}

func TestScaleDownDelay(t *testing.T) {
	s := settings(t, map[string]string{serving.ScaleDownDelayAnnotation: "120s", serving.WindowAnnotation: "6s"}, 1)
	scales := story(s, append(steady(7, 60), steady(0, 200)...))
	peak := scales[59]
	if got := scales[59+100]; got != peak {
		t.Errorf("100 s after the load %d instances, want the %d of before", got, peak)
	}
	if got := scales[259]; got != 0 {
		t.Errorf("200 s after the load %d instances", got)
	}
}

func TestActivationScale(t *testing.T) {
	s := settings(t, map[string]string{serving.ActivationScaleAnnotation: "3"}, 0)
	if want, _ := Decide(s, Measures{Waiting: true, LastRequest: start}, Memory{}, start); want != 3 {
		t.Errorf("woken to %d instances, want 3", want)
	}
}

func TestBadAnnotationsAreNamed(t *testing.T) {
	for name, value := range map[string]string{
		serving.MinScaleAnnotation:          "-1",
		serving.MaxScaleAnnotation:          "many",
		serving.MetricAnnotation:            "memory",
		serving.TargetAnnotation:            "0",
		serving.TargetUtilizationAnnotation: "101",
		serving.WindowAnnotation:            "5s",
		serving.ActivationScaleAnnotation:   "0",
		serving.RetentionAnnotation:         "2h",
		serving.ScaleDownDelayAnnotation:    "soon",
		serving.PanicThresholdAnnotation:    "100",
	} {
		if _, err := SettingsOf(annotated(map[string]string{name: value})); err == nil {
			t.Errorf("%s: %q was accepted", name, value)
		}
	}
	if _, err := SettingsOf(annotated(map[string]string{serving.MinScaleAnnotation: "3", serving.MaxScaleAnnotation: "2"})); err == nil {
		t.Error("a maximum below the minimum was accepted")
	}
}

func annotated(annotations map[string]string) *serving.Revision {
	return &serving.Revision{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}}
}

func TestFrozenInstancesAreKept(t *testing.T) {
	for _, test := range []struct {
		name        string
		annotations map[string]string
		probed      bool
		want        time.Duration
	}{
		{"frozen", nil, false, serving.FrozenRetention},
		{"frozen soon", map[string]string{serving.FreezeAnnotation: "1s"}, false, serving.FrozenRetention},
		{"the owner's time", map[string]string{serving.RetentionAnnotation: "5s"}, false, 5 * time.Second},
		{"never frozen", map[string]string{serving.FreezeAnnotation: serving.FreezeNever}, false, 0},
		{"probed by the kubelet", nil, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			rev := annotated(test.annotations)
			rev.Spec.Containers = make([]serving.Container, 1)
			if test.probed {
				rev.Spec.Containers[0].LivenessProbe = &serving.Probe{}
			}
			s, err := SettingsOf(rev)
			if err != nil || s.Retention != test.want {
				t.Errorf("retention = %v, %v; want %v", s.Retention, err, test.want)
			}
		})
	}
}

func TestAverageForgetsAndDoesNotDilute(t *testing.T) {
	var w Window
	w.Add(start, 6)
	if got := w.Average(start, time.Minute, false); got != 6 {
		t.Errorf("one second of load averages %v", got)
	}
	if got := w.Average(start.Add(2*time.Minute), time.Minute, false); got != 0 {
		t.Errorf("after two quiet minutes the average is %v", got)
	}
}
