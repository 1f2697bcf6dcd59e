package ruleset

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Replace is the script that makes the table what r says, whatever was there.
func (r *Ruleset) Replace() string {
	// "add" first, so that deleting what is not there is no error.
	return Remove() + "add table inet " + Table + "\n" + Change(New(), r)
}

// Remove is the script that removes the table.
func Remove() string {
	return fmt.Sprintf("add table inet %[1]s\ndelete table inet %[1]s\n", Table)
}

// Change is the script that makes a table that is what from says what to says;
// empty where there is nothing to change. Its order is that of what names what:
// declared first, then emptied of what goes, filled, and removed.
func Change(from, to *Ruleset) string {
	var s script
	s.declare(from, to)
	s.takeElements(from, to)
	s.fillChains(from, to)
	s.addElements(from, to)
	s.remove(from, to)
	return s.String()
}

type script struct{ strings.Builder }

// say adds a line: a verb, a kind of thing, its name, and the rest.
func (s *script) say(verb, kind, name, rest string) {
	fmt.Fprintf(s, "%s %s inet %s %s%s\n", verb, kind, Table, name, rest)
}

func (s *script) declare(from, to *Ruleset) {
	for _, name := range slices.Sorted(maps.Keys(to.Sets)) {
		if _, ok := from.Sets[name]; !ok {
			s.say("add", to.Sets[name].kind(), name, " { type "+to.Sets[name].Type+"; }")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(to.Chains)) {
		if _, ok := from.Chains[name]; ok {
			continue
		}
		var hook string
		if h := to.Chains[name].Hook; h != "" {
			hook = " { type filter hook " + h + "; policy accept; }"
		}
		s.say("add", "chain", name, hook)
	}
}

func (s *script) takeElements(from, to *Ruleset) {
	for _, name := range slices.Sorted(maps.Keys(from.Sets)) {
		now, stays := to.Sets[name]
		var gone []string
		for key, verdict := range from.Sets[name].Elements {
			if after, ok := now.Elements[key]; stays && (!ok || after != verdict) {
				gone = append(gone, key)
			}
		}
		if !stays && len(from.Sets[name].Elements) > 0 {
			s.say("flush", from.Sets[name].kind(), name, "")
		}
		s.elements("delete", name, gone)
	}
}

func (s *script) fillChains(from, to *Ruleset) {
	for _, name := range slices.Sorted(maps.Keys(to.Chains)) {
		before, after := from.Chains[name].Rules, to.Chains[name].Rules
		if slices.Equal(before, after) {
			continue
		}
		if len(before) > 0 {
			s.say("flush", "chain", name, "")
		}
		for _, rule := range after {
			s.say("add", "rule", name, " "+rule)
		}
	}
}

func (s *script) addElements(from, to *Ruleset) {
	for _, name := range slices.Sorted(maps.Keys(to.Sets)) {
		before := from.Sets[name]
		var added []string
		for key, verdict := range to.Sets[name].Elements {
			if was, ok := before.Elements[key]; ok && was == verdict {
				continue
			}
			if verdict != "" {
				key += " : " + verdict
			}
			added = append(added, key)
		}
		s.elements("add", name, added)
	}
}

// atOnce bounds how many elements one message to the kernel has: its length has
// 16 bits.
const atOnce = 500

// elements says what is added to a set or taken from it.
func (s *script) elements(verb, set string, all []string) {
	slices.Sort(all)
	for some := range slices.Chunk(all, atOnce) {
		s.say(verb, "element", set, " { "+strings.Join(some, ", ")+" }")
	}
}

// remove removes chains and sets that nothing names any more. Chains are
// emptied first: they may name one another.
func (s *script) remove(from, to *Ruleset) {
	var gone []string
	for _, name := range slices.Sorted(maps.Keys(from.Chains)) {
		if _, ok := to.Chains[name]; !ok {
			gone = append(gone, name)
			s.say("flush", "chain", name, "")
		}
	}
	for _, name := range gone {
		s.say("delete", "chain", name, "")
	}
	for _, name := range slices.Sorted(maps.Keys(from.Sets)) {
		if _, ok := to.Sets[name]; !ok {
			s.say("delete", from.Sets[name].kind(), name, "")
		}
	}
}

func (s Set) kind() string {
	if strings.HasSuffix(s.Type, ": verdict") {
		return "map"
	}
	return "set"
}
