package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/function"
	"redoubt.dev/redoubt/runtimes/source"
)

const greeting = "def greet(event, context):\n    return 'Hello'\n"

func checksum(data string) string {
	sum := sha256.Sum256([]byte(data))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// deployed applies flags to a new function.
func deployed(t *testing.T, stdin string, args ...string) (*kubeless.Function, error) {
	t.Helper()
	return (&functionFlags{}).deploy(t, stdin, args...)
}

func (f *functionFlags) deploy(t *testing.T, stdin string, args ...string) (*kubeless.Function, error) {
	t.Helper()
	cmd := &cobra.Command{}
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetContext(t.Context())
	f.register(cmd)
	if err := cmd.ParseFlags(append([]string{"--runtime=python3", "--handler=app.greet"}, args...)); err != nil {
		t.Fatal(err)
	}
	fn := &kubeless.Function{}
	return fn, f.apply(cmd, fn)
}

func TestSourceFromEverywhere(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/app.py" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, greeting)
	}))
	defer site.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "app.py")
	if err := os.WriteFile(file, []byte(greeting), 0o600); err != nil {
		t.Fatal(err)
	}
	zipped, err := readFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	for title, tc := range map[string]struct {
		stdin, kind string
		args        []string
	}{
		"a file":             {"", "text", []string{"--from-file=" + file}},
		"a file as it must":  {"", "text", []string{"--from-file=" + file, "--checksum=" + checksum(greeting)}},
		"standard input":     {greeting, "text", []string{"--from-file=-"}},
		"an archive from it": {string(zipped), "base64+zip", []string{"-f", "-"}},
		"a folder":           {"", "base64+zip", []string{"--from-file=" + folder}},
		"a URL":              {"", "text", []string{"--from-file=" + site.URL + "/app.py", "--checksum=" + checksum(greeting)}},
	} {
		fn, err := deployed(t, tc.stdin, tc.args...)
		if err != nil || fn.Spec.FunctionContentType != tc.kind {
			t.Errorf("%s: %q, %v", title, fn.Spec.FunctionContentType, err)
			continue
		}
		files, err := function.Source(fn, source.Small)
		if err != nil || len(files) != 1 || files[0].Path != "app.py" || !bytes.Equal(files[0].Data, []byte(greeting)) {
			t.Errorf("%s becomes %v, %v", title, files, err)
		}
	}
}

// A source above what a Function takes is an archive whose parts it names.
func TestLargeSource(t *testing.T) {
	random := make([]byte, 3_500_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	zipped, err := source.Pack([]source.File{{Path: "app.py", Data: []byte(greeting)}, {Path: "data", Data: random}})
	if err != nil {
		t.Fatal(err)
	}
	for title, tc := range map[string]struct {
		data  string
		parts int
		files int
	}{
		"an archive":       {string(zipped), 4, 2},
		"a program":        {string(random[:800_000]), 1, 1},
		"what packs small": {strings.Repeat("#", 5_000_000), 1, 1},
	} {
		f := &functionFlags{}
		fn, err := f.deploy(t, tc.data, "--from-file=-")
		if err != nil || len(kubeless.Parts(fn)) != tc.parts || fn.Spec.FunctionContentType != "configmap+zip" || fn.Spec.Checksum != checksum(string(f.archive)) {
			t.Errorf("%s: %+v, %v", title, fn.Spec, err)
			continue
		}
		if files, err := source.Files(source.Zip, f.archive, "app.py", source.Large); err != nil || len(files) != tc.files {
			t.Errorf("%s has %d files, %v", title, len(files), err)
		}
	}
}

// bomb is an archive of much more than it has.
func bomb(t *testing.T) string {
	t.Helper()
	data, err := source.Pack([]source.File{{Path: "app.py", Data: make([]byte, 65_000_000)}})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSourceIsRefused(t *testing.T) {
	site := httptest.NewServer(http.NotFoundHandler())
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	defer site.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "other.py"), []byte(greeting), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := checksum(greeting)
	for title, tc := range map[string]struct {
		stdin, says string
		args        []string
	}{
		"nothing":             {"", "is empty", []string{"-f", "-"}},
		"too much":            {strings.Repeat("x", source.MaxArchive+1), "more than the 32000000 bytes", []string{"-f", "-"}},
		"too much unpacked":   {bomb(t), "more than the 64000000 bytes", []string{"-f", "-"}},
		"much, with others":   {strings.Repeat("#", 2_000_000), "put the file into", []string{"-f", "-", "-d", filepath.Join(dir, "other.py")}},
		"another checksum":    {greeting + "#", "not the " + sum, []string{"-f", "-", "--checksum=" + sum}},
		"no checksum":         {greeting, "64 hexadecimal digits", []string{"-f", "-", "--checksum=md5:1"}},
		"a checksum alone":    {"", "give both", []string{"--checksum=" + sum}},
		"a folder's checksum": {"", "a folder has no checksum", []string{"-f", dir, "--checksum=" + sum}},
		"a folder without it": {"", "no app.py in its top folder", []string{"-f", dir}},
		"plain HTTP":          {"", "could be anybody's", []string{"-f", site.URL}},
		"a URL of nothing":    {"", "404 Not Found", []string{"-f", site.URL, "--checksum=" + sum}},
		"nobody there":        {"", "connection refused", []string{"-f", gone.URL, "--checksum=" + sum}},
		"dependencies":        {greeting, "--dependencies", []string{"-f", "-", "-d", "requirements.txt"}},
	} {
		if _, err := deployed(t, tc.stdin, tc.args...); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", title, err, tc.says)
		}
	}
}

// An update that finds the function changed meanwhile is tried again, with the same
// source.
func TestSourceIsReadOnce(t *testing.T) {
	f, cmd := &functionFlags{}, &cobra.Command{}
	cmd.SetIn(strings.NewReader(greeting))
	f.register(cmd)
	if err := cmd.ParseFlags([]string{"--from-file=-"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		fn := &kubeless.Function{}
		fn.Spec.Runtime, fn.Spec.Handler = "python3", "app.greet"
		if err := f.apply(cmd, fn); err != nil || fn.Spec.Function != greeting {
			t.Errorf("the source is %q, %v", fn.Spec.Function, err)
		}
	}
}
