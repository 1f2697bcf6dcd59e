package measure

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	for q, want := range map[float64]float64{0: 1, 0.5: 2.5, 1: 4} {
		if got := Quantile(values, q); got != want {
			t.Errorf("quantile %v of %v is %v, want %v", q, values, got, want)
		}
	}
	if Quantile(nil, 0.5) != 0 {
		t.Error("the median of nothing is not 0")
	}
	if !slices.Equal(values, []float64{4, 1, 3, 2}) {
		t.Error("the values were reordered")
	}
}

func TestCompare(t *testing.T) {
	results := []Result{
		Of("start", "runc", "total", "ms", 100),
		Of("start", "gvisor", "total", "ms", 150),
		Of("other", "gvisor", "total", "ms", 150),
	}
	Compare(results, "runc")
	if results[0].Ratio != 1 || results[1].Ratio != 1.5 || results[2].Ratio != 0 {
		t.Errorf("%+v", results)
	}
}

func TestInterleaveTurnsAndWarmsUp(t *testing.T) {
	var order, counted []string
	err := Interleave([]string{"a", "b"}, 2, func(s string, record bool) error {
		order = append(order, s)
		if record {
			counted = append(counted, s)
		}
		return nil
	})
	if err != nil || strings.Join(order, "") != "abbaab" || strings.Join(counted, "") != "baab" {
		t.Errorf("%v, order %v, counted %v", err, order, counted)
	}
}

func TestTableSaysWhatIsOverItsBar(t *testing.T) {
	r := Of("footprint", "gateway", "memory", "MiB", 200)
	r.Bar = 120
	var out strings.Builder
	if err := Table(&out, []Result{r, Of("start", "runc", "total", "ms", Milliseconds([]time.Duration{time.Second})...)}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"over 120", "1000.0 ms", "footprint", "start"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}
