package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/function"
)

const greeting = "def greet(event, context):\n    return 'Hello'\n"

func checksum(data string) string {
	sum := sha256.Sum256([]byte(data))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// deployed applies flags to a new function.
func deployed(t *testing.T, stdin string, args ...string) (*kubeless.Function, error) {
	t.Helper()
	f := &functionFlags{}
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
		files, err := function.Source(fn)
		if err != nil || len(files) != 1 || files[0].Path != "app.py" || !bytes.Equal(files[0].Data, []byte(greeting)) {
			t.Errorf("%s becomes %v, %v", title, files, err)
		}
	}
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
		"too much":            {strings.Repeat("x", maxSource+1), "more than the 1000000 bytes", []string{"-f", "-"}},
		"base64 too long":     {strings.Repeat("\xff", 800_000), "as base64", []string{"-f", "-"}},
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
