package houserules

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	goTest    = regexp.MustCompile("`go test \\./(\\S+?)(?: -run (\\S+?))?`")
	benchmark = regexp.MustCompile("`go run \\./bench -only (\\w+)`")
	testName  = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

// TestSpecificationIsChecked: each command that SPECIFICATION.md names as the
// check of a promise exists, and every promise has one.
func TestSpecificationIsChecked(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "SPECIFICATION.md"))
	if err != nil {
		t.Fatal(err)
	}
	for row := range strings.Lines(string(data)) {
		if strings.HasPrefix(row, "| ") && !strings.Contains(row, "Checked by") && !strings.Contains(row, "`") {
			t.Errorf("a promise without a check: %s", row)
		}
	}
	for _, m := range goTest.FindAllStringSubmatch(string(data), -1) {
		if !hasTest(t, m[1], m[2]) {
			t.Errorf("%s runs no test", m[0])
		}
	}
	suites, err := os.ReadFile(filepath.Join(root, "bench", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range benchmark.FindAllStringSubmatch(string(data), -1) {
		if !strings.Contains(string(suites), `{"`+m[1]+`"`) {
			t.Errorf("%s: there is no such benchmark", m[0])
		}
	}
}

// hasTest says whether the package in dir has a test whose name pattern
// matches.
func hasTest(t *testing.T, dir, pattern string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	run := regexp.MustCompile(pattern)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testName.FindAllSubmatch(data, -1) {
			if run.Match(m[1]) {
				return true
			}
		}
	}
	return false
}
