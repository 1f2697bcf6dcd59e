package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"redoubt.dev/redoubt/internal/image/layer"
)

// An archive is taken if it is what its digest says, from whomever it comes.
func TestArchivesAreKnownByTheirDigest(t *testing.T) {
	var file bytes.Buffer
	packed := gzip.NewWriter(&file)
	w := tar.NewWriter(packed)
	err := errors.Join(w.WriteHeader(&tar.Header{Name: "package/bin/run", Mode: 0o755, Typeflag: tar.TypeReg, Size: 1}))
	_, err2 := w.Write([]byte("x"))
	if err := errors.Join(err, err2, w.Close(), packed.Close()); err != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(file.Bytes()) }))
	defer site.Close()
	sum := sha512.Sum512(file.Bytes())
	a := Archive{URL: site.URL, SHA512: base64.StdEncoding.EncodeToString(sum[:]), Folder: "package", Path: "/opt"}
	tree := layer.New()
	closer, err := a.add(t.Context(), tree, func(string) {})
	if err != nil || !tree.Has("/opt/bin/run") {
		t.Fatalf("not taken: %v", err)
	}
	defer closer.Close()
	a.SHA512 = "other"
	if _, err := a.add(t.Context(), layer.New(), func(string) {}); err == nil || !strings.Contains(err.Error(), "its SHA-512 is") {
		t.Errorf("another's was taken: %v", err)
	}
}
