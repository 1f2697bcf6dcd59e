package builds

import (
	"archive/tar"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"redoubt.dev/redoubt/internal/image/oci"
)

// What a sandbox answers is bounded, whole, and its own.
func TestFetchIsBounded(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") }))
	defer inside.Close()
	for says, answer := range map[string]http.HandlerFunc{
		"":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") },
		"302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL, http.StatusFound) },
		"unexpected": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "cut")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"more than": func(w http.ResponseWriter, _ *http.Request) {
			for chunk := make([]byte, 1<<20); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
	} {
		server := httptest.NewServer(answer)
		var out bytes.Buffer
		to := io.Writer(&out)
		if says == "more than" {
			to = io.Discard
		}
		err := fetch(t.Context(), strings.TrimPrefix(server.URL, "http://"), to)
		if says == "" && (err != nil || out.String() != "fine") || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%v, want %q", err, says)
		}
		server.Close()
	}
}

// result is a tar file as a build could write it.
func result(t *testing.T, h tar.Header) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w := tar.NewWriter(f)
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestResultsStayInTheirFolder(t *testing.T) {
	for says, h := range map[string]tar.Header{
		"":             {Name: "out/usr/bin/python3", Typeflag: tar.TypeReg, Mode: 0o6755},
		"climbs out":   {Name: "out/../../server.py", Typeflag: tar.TypeReg},
		"special file": {Name: "out/disk", Typeflag: tar.TypeBlock},
	} {
		image, file, err := over(&oci.Image{}, result(t, h), map[string]string{"out": "/dependencies", "source": ""})
		if says != "" {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%v, want %q", err, says)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		r, err := image.Layers[0].Open()
		if err != nil {
			t.Fatal(err)
		}
		for in := tar.NewReader(r); ; {
			h, err := in.Next()
			if err == io.EOF {
				break
			}
			if err != nil || !strings.HasPrefix(h.Name, "dependencies/") || h.Mode&0o7000 != 0 {
				t.Errorf("%v, %v", h, err)
			}
		}
	}
}
