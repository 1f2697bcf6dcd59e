package test

import (
	"strings"
	"testing"
)

// The talk's three workloads run in every class that the node offers, as the
// demo shows them: a pod, a service from zero, a function from its source.
func TestDemo(t *testing.T) {
	out, err := shared.Try(t, "", "demo")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	classes := []string{"runc", "gvisor"}
	if strings.Contains(shared.Kubectl(t, "get", "runtimeclass", "-o", "name"), "/microvm") {
		classes = append(classes, "microvm")
	}
	_, table, found := strings.Cut(out, "What was seen")
	if !found {
		t.Fatalf("the demo has no closing table:\n%s", out)
	}
	for _, workload := range []string{"pod", "service", "function"} {
		for _, class := range classes {
			if !hasRow(table, workload, class) {
				t.Errorf("the table has no %s in class %s:\n%s", workload, class, table)
			}
		}
	}
}

func hasRow(table string, columns ...string) bool {
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > len(columns) && fields[0] == columns[0] && fields[1] == columns[1] {
			return true
		}
	}
	return false
}
