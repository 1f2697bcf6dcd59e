package processors

import "testing"

func TestGreedy(t *testing.T) {
	for _, test := range []struct{ all, greedy string }{
		{"0\n", "0"},
		{"0-1\n", "0"},
		{"0-3", "0,1,2"},
		{"0-6,8", "0,1,2,3,4,5,6"},
		{"2,4-6", "2,4,5"},
		{"0-15", "0,1,2,3,4,5,6,7,8,9,10,11,12,13"},
	} {
		all, err := Parse(test.all)
		if got := all.Greedy().String(); err != nil || got != test.greedy {
			t.Errorf("of %q the greedy have %q, %v; want %q", test.all, got, err, test.greedy)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, list := range []string{"", "x", "0-", "-1", "3-1", "0,0", "2,1", "0-99999999", "0;1"} {
		if set, err := Parse(list); err == nil {
			t.Errorf("%q is %v", list, set)
		}
	}
}
