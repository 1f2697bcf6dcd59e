package headroom

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"redoubt.dev/redoubt/internal/processors"
)

// files are the control groups below a kubelet's root: on version 1 one
// hierarchy says what was used, one what a group weighs and one what processors
// it may have; on version 2 it is one for all.
type files struct {
	v1                  bool
	used, weights, sets string // folders of the root
}

// find is the part below root of what is mounted at the given folder, of which
// one for each controller of version 1 may be a link.
func find(mounted, root string) (f files, err error) {
	f.v1 = true
	for at, name := range map[*string]string{&f.used: "cpuacct", &f.weights: "cpu", &f.sets: "cpuset"} {
		if *at, err = filepath.EvalSymlinks(filepath.Join(mounted, name)); err != nil {
			f.v1 = false
			break
		}
		*at = filepath.Join(*at, root)
	}
	if !f.v1 {
		both := filepath.Join(mounted, root)
		f = files{used: both, weights: both, sets: both}
	}
	if _, err := processors.Of(f.sets); errors.Is(err, fs.ErrNotExist) {
		return f, processors.ErrNone
	}
	return f, nil
}

// usage is what the processes of a group have used of processors.
func (f files) usage(at string) (time.Duration, error) {
	if f.v1 {
		ns, err := number(filepath.Join(f.used, at, "cpuacct.usage"))
		return time.Duration(ns), err
	}
	file := filepath.Join(f.used, at, "cpu.stat")
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if us, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(us), 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("%s has no line usage_usec", file)
}

// request is what a pod asked for, in processors: the kubelet weighs groups by
// that, 1,024 shares for one.
func (f files) request(at string) (float64, error) {
	const one = 1024
	if f.v1 {
		shares, err := number(filepath.Join(f.weights, at, "cpu.shares"))
		return float64(shares) / one, err
	}
	weight, err := number(filepath.Join(f.weights, at, "cpu.weight"))
	return shares(float64(weight)) / one, err
}

// shares is the inverse of how kubelets turn shares into weights since
// Kubernetes 1.35: log10(weight) = (l*l + 125*l)/612 - 7/34, l = log2(shares)
// (opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value).
func shares(weight float64) float64 {
	if weight <= 1 {
		return 0
	}
	l := (math.Sqrt(125*125+4*612*(math.Log10(weight)+7.0/34)) - 125) / 2
	return math.Exp2(l)
}

func number(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}
