package houserules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strconv"
	"strings"
	"testing"
)

// module is the path that the packages' import paths begin with.
const module = "redoubt.dev/redoubt/"

func TestEveryPackageHasAComment(t *testing.T) {
	commented := map[string]bool{}
	files(t, ".go", func(file string, data []byte) {
		f, err := parser.ParseFile(token.NewFileSet(), file, data, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Error(err)
			return
		}
		dir := path.Dir(file)
		name := strings.TrimSuffix(f.Name.Name, "_test")
		want := "Package " + name + " "
		if name == "main" {
			want = "Command "
		}
		commented[dir] = commented[dir] || strings.HasPrefix(f.Doc.Text(), want)
	})
	for dir, ok := range commented {
		if !ok {
			t.Errorf("%s: no file says what the package is; begin one with a comment like %q", dir, "// Package "+path.Base(dir)+" ...")
		}
	}
}

// boundaries are the imports that would join what must stay apart. A test may
// import what it likes.
var boundaries = []struct {
	from, to, why string
	// butTo is a part of to that may be imported all the same, and butFrom a
	// part of from that may import.
	butTo, butFrom string
}{
	{from: "internal/guest", to: "internal/microvm", why: "code of the host does not belong in the guest; both import internal/wire"},
	{from: "internal/microvm", to: "internal/guest", why: "the host trusts nothing of the guest's; both import internal/wire"},
	{from: "cmd/redoubt-guest", to: "internal", butTo: "internal/guest", why: "the guest's first process is small; it holds the guest's code alone"},
	{from: "internal/guest", to: "internal/cluster", why: "the guest knows nothing of clusters"},
	{from: "internal/wire", to: "internal", butTo: "internal/wire", why: "both sides of the boundary import the wire, which imports neither"},
	{from: "internal/gateway", to: "internal/cluster", why: "a role runs against any cluster and knows nothing of the one that up boots"},
	{from: "internal/node", to: "internal/cluster", why: "a role runs against any cluster and knows nothing of the one that up boots"},
	{from: "internal/serving", to: "internal/cluster", why: "a role runs against any cluster and knows nothing of the one that up boots"},
	{from: "internal/tenant", to: "internal/cluster", why: "a role runs against any cluster and knows nothing of the one that up boots"},
	{from: "internal/function", to: "internal/cluster", why: "a role runs against any cluster and knows nothing of the one that up boots"},
	{from: "internal/trigger", to: "internal/cluster", why: "a role runs against any cluster and knows nothing of the one that up boots"},
	{from: "internal/autoscale", to: "internal/cluster", why: "a role runs against any cluster and knows nothing of the one that up boots"},
	{from: "api", to: "internal", why: "API types are for anybody to use, and Go keeps others from internal"},
	{from: "internal", to: "internal/cli", butFrom: "internal/cli", why: "the command line stands above everything"},
	{from: "internal", to: "bench", why: "benchmarks measure the project; it does not need them"},
	{from: "internal", to: "test", why: "tests drive the project; it does not need them"},
}

func TestBoundaries(t *testing.T) {
	files(t, ".go", func(file string, data []byte) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, data, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		for _, imported := range imports(f) {
			if why := forbidden(path.Dir(file), imported); why != "" {
				t.Errorf("%s imports %s: %s", file, imported, why)
			}
		}
	})
}

// imports are the packages of this module that f imports, without the
// module's name.
func imports(f *ast.File) []string {
	var all []string
	for _, spec := range f.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		if own, ok := strings.CutPrefix(name, module); ok {
			all = append(all, own)
		}
	}
	return all
}

// forbidden says why from may not import to, or nothing when it may.
func forbidden(from, to string) string {
	for _, b := range boundaries {
		allowed := b.butTo != "" && within(to, b.butTo) || b.butFrom != "" && within(from, b.butFrom)
		if within(from, b.from) && within(to, b.to) && !allowed {
			return b.why
		}
	}
	return ""
}

func within(dir, parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }

// TestBoundariesCatch is the control: a rule that caught nothing would look
// kept.
func TestBoundariesCatch(t *testing.T) {
	for _, c := range []struct {
		from, to string
		caught   bool
	}{
		{"internal/guest", "internal/microvm/vmm", true},
		{"internal/guest/exec", "internal/wire", false},
		{"internal/guest/exec", "internal/guest", false},
		{"internal/wire", "internal/wire/frame", false},
		{"internal/serving/route", "internal/cluster/netns", true},
		{"internal/serving/route", "internal/load", false},
		{"api/serving/v1", "internal/load", true},
		{"cmd/redoubt-guest", "internal/guest", false},
		{"cmd/redoubt-guest", "internal/cluster", true},
		{"internal/doctor", "internal/cli", true},
		{"internal/cli", "internal/doctor", false},
		{"cmd/redoubt", "internal/cli", false},
	} {
		if got := forbidden(c.from, c.to) != ""; got != c.caught {
			t.Errorf("%s importing %s: caught %v, want %v", c.from, c.to, got, c.caught)
		}
	}
}

// TestCommandsAreWiring keeps cmd/ to what cannot be elsewhere.
func TestCommandsAreWiring(t *testing.T) {
	const most = 60
	files(t, ".go", func(file string, data []byte) {
		if strings.HasPrefix(file, "cmd/") && !strings.HasSuffix(file, "_test.go") {
			if n := strings.Count(string(data), "\n"); n > most {
				t.Errorf("%s has %d lines, at most %d are wiring; move the rest where a test can call it", file, n, most)
			}
		}
	})
}
