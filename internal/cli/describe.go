package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// description writes what there is to say of one object: labels and values in
// two columns, with parts set in, as kn does.
type description struct {
	out    *tabwriter.Writer
	indent string
}

func newDescription(out io.Writer) description {
	return description{out: tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)}
}

// attribute writes one line and returns where its parts go.
func (d description) attribute(label, value string) description {
	fmt.Fprintf(d.out, "%s%s:\t%s\n", d.indent, label, value)
	return description{out: d.out, indent: d.indent + "  "}
}

// item writes a line without a label; its parts are in the second column.
func (d description) item(first, second string) description {
	fmt.Fprintf(d.out, "%s%s\t%s\n", d.indent, first, second)
	return description{out: d.out, indent: d.indent + "\t"}
}

// section ends the block before it, so that each has its own column width.
func (d description) section() {
	fmt.Fprintln(d.out)
	_ = d.out.Flush()
}

// maxDescribed is where a long list is cut, in characters.
const maxDescribed = 100

func (d description) list(label string, values []string) {
	if len(values) == 0 {
		return
	}
	joined := strings.Join(values, ", ")
	if len(joined) > maxDescribed {
		joined = joined[:maxDescribed-4] + " ..."
	}
	d.attribute(label, joined)
}

func (d description) metadata(m *metav1.ObjectMeta) {
	d.attribute("Name", m.Name)
	d.attribute("Namespace", m.Namespace)
	d.list("Labels", ofInterest(m.Labels))
	d.list("Annotations", ofInterest(m.Annotations))
	d.attribute("Age", age(m.CreationTimestamp))
}

// ofInterest leaves out what the machinery wrote.
func ofInterest(m map[string]string) []string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		switch domain, _, _ := strings.Cut(key, "/"); domain {
		case "serving.knative.dev", "client.knative.dev", "kubectl.kubernetes.io":
		default:
			pairs = append(pairs, key+"="+m[key])
		}
	}
	return pairs
}

// conditions writes the table of conditions, Ready first, with messages those of
// all, and otherwise of what keeps the object from being ready.
func (d description) conditions(all serving.Conditions, messages bool) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b serving.Condition) int {
		return strings.Compare(rank(a)+a.Type, rank(b)+b.Type)
	})
	widest := len("TYPE")
	for _, c := range all {
		widest = max(widest, len(c.Type))
	}
	d.attribute("Conditions", "")
	_ = d.out.Flush()
	fmt.Fprintf(d.out, "  %-2s %-*s %6s %s\n", "OK", widest, "TYPE", "AGE", "REASON")
	for _, c := range all {
		reason := c.Reason
		lacks := c.Severity == "" && c.Status != corev1.ConditionTrue
		if (messages || lacks) && c.Message != "" {
			reason = strings.TrimSpace(fmt.Sprintf("%s (%s)", reason, oneLine(c.Message)))
		}
		fmt.Fprintf(d.out, "  %-2s %-*s %6s %s\n", mark(c), widest, c.Type, age(c.LastTransitionTime), reason)
	}
	_ = d.out.Flush()
}

func rank(c serving.Condition) string {
	switch {
	case c.Type == serving.Ready:
		return "0"
	case c.Severity == "":
		return "1"
	}
	return "2"
}

func mark(c serving.Condition) string {
	switch {
	case c.Status == corev1.ConditionTrue:
		return "++"
	case c.Status == corev1.ConditionUnknown:
		return "??"
	case c.Severity == "Info":
		return " I"
	}
	return "!!"
}

func age(t metav1.Time) string {
	if t.IsZero() {
		return ""
	}
	return duration.ShortHumanDuration(time.Since(t.Time))
}

// conditionsColumn, readyColumn and reasonColumn are the columns that kn ends
// its lists with.
func conditionsColumn(all serving.Conditions) string {
	ok := 0
	for _, c := range all {
		if c.Status == corev1.ConditionTrue {
			ok++
		}
	}
	return fmt.Sprintf("%d OK / %d", ok, len(all))
}

func readyColumn(all serving.Conditions) string {
	if len(all) == 0 {
		return "<unknown>"
	}
	return string(all.Get(serving.Ready).Status)
}

func reasonColumn(all serving.Conditions) string {
	c := all.Get(serving.Ready)
	switch {
	case c.Status == corev1.ConditionTrue:
		return ""
	case c.Message != "":
		return c.Reason + " : " + oneLine(c.Message)
	}
	return c.Reason
}
