package measure

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"redoubt.dev/redoubt/internal/probe"
)

// lacks are the fields of pods that a class cannot do, a line for each with the
// reason: those that any node has failed to give, in the words of what is declared
// where it is, and those declared that no node was asked for. Admission reads it
// (config/policy/capabilities.yaml).
func lacks(declared string, nodes map[string]Measured) string {
	reasons := map[string]string{}
	for _, l := range strings.Split(declared, "\n") {
		if field, reason, ok := strings.Cut(l, "="); ok {
			reasons[field] = reason
		}
	}
	lines := maps.Clone(reasons)
	for _, node := range nodes {
		for field := range node.Fields {
			delete(lines, field)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		for field, answer := range nodes[name].Fields {
			if answer != probe.Works {
				// What a node says to do about it, admission says in its own words.
				why, _, _ := strings.Cut(answer, ";")
				lines[field] = cmp.Or(reasons[field], why) + " (measured on node " + name + ")"
			}
		}
	}
	var b strings.Builder
	for _, field := range slices.Sorted(maps.Keys(lines)) {
		b.WriteString(field + "=" + strings.Join(strings.Fields(lines[field]), " ") + "\n")
	}
	return b.String()
}
