package houserules

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unwanted are words that a reader of the repository cannot use, and why.
// They are written so that this file does not match itself.
var unwanted = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`\b(TOD[O]|FIXM[E]|XX[X])\b`), "finish it, or write down why not"},
	{regexp.MustCompile(`(^|[\s"'(=:` + "`" + `])/(work|roo[t])/\w`), "a path of one machine means nothing on another"},
	{regexp.MustCompile(`/tm[p]/\w+/`), "a path of one machine means nothing on another"},
	{regexp.MustCompile(`(?i)\b(issu[e]|ticke[t]) ?#?\d`), "the text stands on its own; give the reason instead of the number"},
	{regexp.MustCompile(`(?i)lorem ipsu[m]`), "write what is meant"},
}

func TestWords(t *testing.T) {
	files(t, "", func(file string, data []byte) {
		if strings.HasSuffix(file, ".sum") || strings.HasPrefix(path.Base(file), "zz_generated") {
			return
		}
		for _, u := range unwanted {
			for _, at := range u.pattern.FindAllIndex(data, -1) {
				t.Errorf("%s:%d: %q: %s", file, line(data, at[0]), data[at[0]:at[1]], u.why)
			}
		}
	})
}

var (
	fence = regexp.MustCompile("(?ms)^```.*?^```")
	code  = regexp.MustCompile("`[^`\n]*`")
	link  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	title = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// prose blanks out code, in which brackets are no links.
func prose(data []byte) []byte {
	blank := func(b []byte) []byte { return regexp.MustCompile(`[^\n]`).ReplaceAll(b, []byte(" ")) }
	return code.ReplaceAllFunc(fence.ReplaceAllFunc(data, blank), func(b []byte) []byte {
		return []byte(strings.Repeat("x", len(b)))
	})
}

func TestLinksResolve(t *testing.T) {
	files(t, ".md", func(file string, data []byte) {
		text := prose(data)
		for _, at := range link.FindAllSubmatchIndex(text, -1) {
			target := string(text[at[2]:at[3]])
			if strings.Contains(target, "://") {
				continue
			}
			if why := broken(file, target); why != "" {
				t.Errorf("%s:%d: %s: %s", file, line(data, at[0]), target, why)
			}
		}
	})
}

func broken(file, target string) string {
	name, anchor, _ := strings.Cut(target, "#")
	to := file
	if name != "" {
		to = path.Join(path.Dir(file), name)
	}
	info, err := os.Stat(filepath.Join(root, to))
	if err != nil {
		return "there is no such file"
	}
	if anchor == "" {
		return ""
	}
	if info.IsDir() {
		return "a folder has no headings"
	}
	data, err := os.ReadFile(filepath.Join(root, to))
	if err != nil {
		return err.Error()
	}
	for _, m := range title.FindAllSubmatch(fence.ReplaceAll(data, nil), -1) {
		if slug(string(m[1])) == anchor {
			return ""
		}
	}
	return "there is no such heading"
}

// slug is the anchor that a heading gets when the page is shown.
func slug(heading string) string {
	heading = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(heading), " ", "-"))
	return regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(heading, "")
}

// TestRootIsExplained: the root listing is the architecture, so each of its
// folders has a line in the two pages that explain it.
func TestRootIsExplained(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"ARCHITECTURE.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, e := range entries {
			if e.IsDir() && !skipped[e.Name()] && !strings.Contains(string(text), "`"+e.Name()+"/`") {
				t.Errorf("%s does not say what `%s/` is", page, e.Name())
			}
		}
	}
}
