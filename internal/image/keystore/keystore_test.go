package keystore

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"redoubt.dev/redoubt/internal/image/build"
)

// Java's own tool takes the store, checksum and all.
func TestJavaReadsTheStore(t *testing.T) {
	bundle, err := build.Authorities()
	if err != nil {
		t.Fatal(err)
	}
	store, err := Trust(bundle)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cacerts")
	if err := os.WriteFile(file, store, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("keytool", "-list", "-keystore", file, "-storepass", password).CombinedOutput()
	if want := bytes.Count(bundle, []byte("BEGIN CERTIFICATE")); err != nil || strings.Count(string(out), "trustedCertEntry") != want {
		t.Errorf("keytool found not all of %d authorities: %v: %.300s", want, err, out)
	}
	store[100]++
	if err := os.WriteFile(file, store, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("keytool", "-list", "-keystore", file, "-storepass", password).CombinedOutput(); err == nil {
		t.Errorf("keytool takes a damaged store: %.300s", out)
	}
}

func TestNoCertificatesAreRefused(t *testing.T) {
	if _, err := Trust([]byte("none")); err == nil {
		t.Error("accepted")
	}
}
