// Package doctor says whether this machine can run the platform, and what to
// do about each thing that stands in the way.
//
// Gather collects the facts, trying things out in namespaces of its own where
// only trying is proof; it leaves nothing behind. Examine judges them: a pure
// function of the facts, so that each check is tested for every answer.
package doctor

import "fmt"

// Level is how bad a finding is.
type Level string

const (
	Passed Level = "PASSED"
	// Warning is something that the platform runs without, in part or with
	// less protection.
	Warning Level = "WARNING"
	// Failed is something that the platform cannot run without.
	Failed Level = "FAILED"
)

// Finding is the outcome of one check.
type Finding struct {
	Group string `json:"group"`
	Check string `json:"check"`
	Level Level  `json:"level"`
	// Detail is what was found, in a few words.
	Detail string `json:"detail"`
	// Remedy is what to do; empty when all is well.
	Remedy string `json:"remedy,omitempty"`
}

// Report is every finding, in the order of the checks.
type Report struct {
	Passed   int       `json:"passed"`
	Warnings int       `json:"warnings"`
	Failed   int       `json:"failed"`
	Findings []Finding `json:"findings"`
}

// check judges one thing. It fills in neither Group nor Check.
type check struct {
	name  string
	judge func(Host) Finding
}

// groups are the checks in the order in which they are printed: what stops
// everything comes first.
var groups = []struct {
	name   string
	checks []check
}{
	{"Machine", machineChecks},
	{"Kernel", kernelChecks},
	{"Control groups", cgroupChecks},
	{"Protection", protectionChecks},
	{"Programs", programChecks},
	{"Virtual machines", machineryChecks},
	{"Resources", resourceChecks},
	{"Ports", portChecks},
}

// Examine runs every check.
func Examine(h Host) Report {
	var r Report
	for _, g := range groups {
		for _, c := range g.checks {
			f := c.judge(h)
			f.Group, f.Check = g.name, c.name
			r.add(f)
		}
	}
	return r
}

func (r *Report) add(f Finding) {
	switch f.Level {
	case Passed:
		r.Passed++
	case Warning:
		r.Warnings++
	case Failed:
		r.Failed++
	}
	r.Findings = append(r.Findings, f)
}

func passed(format string, args ...any) Finding {
	return Finding{Level: Passed, Detail: fmt.Sprintf(format, args...)}
}

func warning(remedy, format string, args ...any) Finding {
	return Finding{Level: Warning, Detail: fmt.Sprintf(format, args...), Remedy: remedy}
}

func failed(remedy, format string, args ...any) Finding {
	return Finding{Level: Failed, Detail: fmt.Sprintf(format, args...), Remedy: remedy}
}
