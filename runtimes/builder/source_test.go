package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"redoubt.dev/redoubt/runtimes/source"
)

// cut is data in parts, as a volume has them.
func cut(t *testing.T, data []byte, size int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for n := 0; len(data) > 0; n++ {
		part := data[:min(size, len(data))]
		data = data[len(part):]
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d", n)), part, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPartsAreUnpacked(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789"), 200_000)
	archive, err := source.Pack([]source.File{{Path: "app.py", Data: []byte("a")}, {Path: "lib/data", Data: large}})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(archive)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	for says, tc := range map[string]struct {
		form, checksum, main string
		data                 []byte
	}{
		"":                    {"zip", digest, "app.py", archive},
		"not the sha256:0":    {"zip", "sha256:0", "app.py", archive},
		"deploy it again":     {"zip", digest, "app.py", archive[1:]},
		"no other.py":         {"zip", digest, "other.py", archive},
		"no form of a source": {"rar", digest, "app.py", archive},
		"more than 32000000":  {"zip", digest, "app.py", make([]byte, source.MaxArchive+1)},
	} {
		t.Setenv("FUNC_SOURCE_FORM", tc.form)
		t.Setenv("FUNC_SOURCE_CHECKSUM", tc.checksum)
		t.Setenv("FUNC_SOURCE_MAIN", tc.main)
		to := filepath.Join(t.TempDir(), "source")
		err := unpack(cut(t, tc.data, max(len(tc.data)/12, 1)), to)
		if says != "" {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%v, want %q", err, says)
			}
			continue
		}
		got, read := os.ReadFile(filepath.Join(to, "lib", "data"))
		if err != nil || read != nil || !bytes.Equal(got, large) || os.Getenv("FUNC_FOLDER") != to {
			t.Errorf("%v, %v, %d bytes", err, read, len(got))
		}
	}
}

// Where the source is a volume, there is nothing to unpack.
func TestNothingIsUnpacked(t *testing.T) {
	t.Setenv("FUNC_SOURCE_FORM", "")
	to := filepath.Join(t.TempDir(), "source")
	if err := unpack("/nowhere", to); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(to); err == nil {
		t.Error("a folder was made")
	}
}
