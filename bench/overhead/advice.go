package overhead

import (
	"fmt"
	"math"

	nodev1 "k8s.io/api/node/v1"
	"sigs.k8s.io/yaml"

	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/config"
)

// podFixed is a class's overhead in the units that it is declared in: whole
// MiB, and thousandths of a processor.
type podFixed struct{ memory, cpu int64 }

func (p podFixed) String() string { return fmt.Sprintf("{cpu: %dm, memory: %dMi}", p.cpu, p.memory) }

const (
	// memoryStep and cpuStep are what advice is rounded up to: pods differ by
	// less, and so do runs.
	memoryStep, cpuStep = 8, 10
	mebibyte            = 1 << 20
)

// advice is what nineteen pods of twenty stay within.
func (w weights) advice() podFixed {
	return podFixed{
		memory: roundUp(measure.Quantile(w.memory(mebibyte, Weight.Total), 0.95), memoryStep),
		cpu:    roundUp(measure.Quantile(w.idle(), 0.95), cpuStep),
	}
}

// roundUp is at least one step: nothing is free.
func roundUp(v float64, step int64) int64 { return max(int64(math.Ceil(v/float64(step)))*step, step) }

// compare makes what is declared the bar of what is measured.
func compare(handler string, advice, class podFixed) []measure.Result {
	memory := measure.Of(suite, handler, "podFixed, memory", "MiB", float64(advice.memory))
	cpu := measure.Of(suite, handler, "podFixed, cpu", "m", float64(advice.cpu))
	memory.Bar, cpu.Bar = float64(class.memory), float64(class.cpu)
	return []measure.Result{memory, cpu}
}

// declared reads the classes that are shipped, by handler.
func declared() (map[string]podFixed, error) {
	docs, err := config.Documents()
	if err != nil {
		return nil, err
	}
	classes := map[string]podFixed{}
	for _, doc := range docs {
		var class nodev1.RuntimeClass
		if err := yaml.Unmarshal(doc, &class); err != nil || class.Kind != "RuntimeClass" || class.Overhead == nil {
			continue // another kind of object
		}
		fixed := class.Overhead.PodFixed
		classes[class.Handler] = podFixed{memory: fixed.Memory().Value() / mebibyte, cpu: fixed.Cpu().MilliValue()}
	}
	return classes, nil
}
