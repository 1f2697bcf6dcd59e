package loud

import (
	"testing"
	"time"

	"redoubt.dev/redoubt/internal/allowance"
)

func TestAllowance(t *testing.T) {
	for _, test := range []struct {
		name string
		used []time.Duration // of a processor, in each second
		loud []bool
	}{
		{"start of a pod", ms(100, 0, 0), []bool{false, false, false}},
		{"always within the allowance", ms(100, 100, 100, 100, 100, 100, 100), make([]bool, 7)},
		{"flood", ms(800, 800), []bool{true, true}},
		{"steady and a little too much", ms(300, 300, 300), []bool{false, false, true}},
		{"now and then", ms(650, 0, 650, 0, 650), []bool{true, true, true, true, true}},
		{"as loud as it may be while it is held back", ms(800, 100, 100, 100, 100), []bool{true, true, true, true, true}},
		{"silent again", ms(2000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), []bool{true, true, true, true, true, true, true, true, true, true, false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := allowance.Bucket{Burst: burst, Most: most}
			for i, used := range test.used {
				if got := b.Add(used, time.Second, allowed); got != test.loud[i] {
					t.Errorf("second %d: loud is %v, with %+v", i+1, got, b)
				}
			}
		})
	}
}

func ms(values ...int) []time.Duration {
	times := make([]time.Duration, len(values))
	for i, v := range values {
		times[i] = time.Duration(v) * time.Millisecond
	}
	return times
}
