package ruleset

import (
	"net/netip"
	"strings"
	"testing"
)

func sample() *Ruleset {
	r := New()
	r.Add("pods", Addresses, "198.18.0.2", "")
	r.Add("ingress", Verdicts, "198.18.0.2", "goto chosen")
	r.Chains["chosen"] = Chain{Rules: []string{"ip saddr @pods accept", "drop"}}
	r.Chains["base"] = Chain{Hook: "forward priority -10", Rules: []string{"ip daddr vmap @ingress"}}
	return r
}

func TestChange(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Ruleset)
		want   string // with the table's name left out
	}{
		{"nothing", func(*Ruleset) {}, ""},
		{"a pod comes", func(r *Ruleset) {
			r.Add("pods", Addresses, "198.18.0.3", "")
			r.Add("ingress", Verdicts, "198.18.0.3", "goto chosen")
		}, "add element ingress { 198.18.0.3 : goto chosen }\nadd element pods { 198.18.0.3 }\n"},
		{"a pod goes", func(r *Ruleset) {
			delete(r.Sets["pods"].Elements, "198.18.0.2")
			delete(r.Sets["ingress"].Elements, "198.18.0.2")
		}, "delete element ingress { 198.18.0.2 }\ndelete element pods { 198.18.0.2 }\n"},
		{"another verdict", func(r *Ruleset) {
			r.Chains["other"] = Chain{Rules: []string{"accept"}}
			r.Add("ingress", Verdicts, "198.18.0.2", "goto other")
		}, "add chain other\ndelete element ingress { 198.18.0.2 }\nadd rule other accept\nadd element ingress { 198.18.0.2 : goto other }\n"},
		{"other rules", func(r *Ruleset) { r.Chains["chosen"] = Chain{Rules: []string{"accept"}} }, "flush chain chosen\nadd rule chosen accept\n"},
		{"a chain and its set go", func(r *Ruleset) {
			delete(r.Chains, "chosen")
			delete(r.Sets["ingress"].Elements, "198.18.0.2")
			delete(r.Sets, "pods")
		}, "delete element ingress { 198.18.0.2 }\nflush set pods\nflush chain chosen\ndelete chain chosen\ndelete set pods\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			after := sample()
			test.change(after)
			if got := strings.ReplaceAll(Change(sample(), after), "inet "+Table+" ", ""); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}

func TestNamesDiffer(t *testing.T) {
	for _, pair := range [][2]string{
		{"acme/web", "acme/we"}, {"a/b-c", "a-b/c"}, {strings.Repeat("a", 300), strings.Repeat("a", 301)}, {"x; flush ruleset", "x_ flush ruleset"},
	} {
		a, b := Name("kind", pair[0], pair[0]), Name("kind", pair[1], pair[1])
		if a == b {
			t.Errorf("%q and %q are both named %s", pair[0], pair[1], a)
		}
		if len(a) > 128 || strings.ContainsAny(a, " ;{}\"\n") {
			t.Errorf("%s is no name for nft", a)
		}
	}
}

func TestClosedNamesThePods(t *testing.T) {
	script := Closed(netip.MustParsePrefix("198.18.0.0/16")).Replace()
	for _, rule := range []string{"closed-forward ip saddr 198.18.0.0/16 drop", "closed-forward ip daddr 198.18.0.0/16 drop", "closed-input ip saddr 198.18.0.0/16 drop"} {
		if !strings.Contains(script, rule) {
			t.Errorf("the script lacks %q:\n%s", rule, script)
		}
	}
}
