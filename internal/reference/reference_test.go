package reference

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"redoubt.dev/redoubt/internal/cli"
)

const dir = "../../docs/reference/cli"

var update = flag.Bool("update", false, "write the pages anew")

func TestPagesAreCurrent(t *testing.T) {
	pages := Pages(cli.New())
	if *update {
		writeAll(t, pages)
	}
	for name, want := range pages {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s does not say what the program says (%v); run: go generate ./internal/reference", name, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if _, ok := pages[filepath.Base(file)]; !ok {
			t.Errorf("%s is about no command; run: go generate ./internal/reference", file)
		}
	}
}

func writeAll(t *testing.T, pages map[string]string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
