// Package processors divides a machine's processors between what answers and
// what takes more than its part.
//
// Who wakes on a machine whose processors are all busy waits for one: until the
// kernel's next tick, 4 ms at 250 Hz, and longer where the waiting are many. Who
// finds one idle runs at once. So what is greedy keeps off some of them, however
// much it wants.
package processors

import (
	"fmt"
	"strconv"
	"strings"
)

// headroom is one in how many processors the greedy keep off.
const headroom = 8

// most is how many processors a list may have; Linux knows 8,192.
const most = 1 << 13

// Set is processors by their numbers, in order.
type Set []int

// Parse reads a list as the kernel writes it: "0-3,8" (cpuset(7), "Formats").
func Parse(list string) (Set, error) {
	var s Set
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		from, to, span := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		last := first
		if err == nil && span {
			last, err = strconv.Atoi(to)
		}
		if err != nil || first < 0 || last < first || last >= most || len(s) > 0 && first <= s[len(s)-1] {
			return nil, fmt.Errorf("%q is no list of processors", list)
		}
		for n := first; n <= last; n++ {
			s = append(s, n)
		}
	}
	return s, nil
}

// String is the list that the kernel reads.
func (s Set) String() string {
	numbers := make([]string, len(s))
	for i, n := range s {
		numbers[i] = strconv.Itoa(n)
	}
	return strings.Join(numbers, ",")
}

// Greedy is the part for what takes more than its own: all but an eighth, and but
// one at least. A single processor cannot be divided.
func (s Set) Greedy() Set {
	if len(s) < 2 {
		return s
	}
	return s[:len(s)-max(1, len(s)/headroom)]
}
