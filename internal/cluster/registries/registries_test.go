package registries

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

func TestPorts(t *testing.T) {
	dir := t.TempDir()
	for name, settings := range map[string]string{
		"localhost:5000":       "",
		"127.0.0.1_5001_":      "",
		"[::1]:5002":           "",
		"localhost":            "",
		"registry.lab:5003":    `server = "http://registry.lab:5003"`,
		"localhost.lab:5004":   "",
		"docker.io":            "server = \"https://registry-1.docker.io\"\n[host.\"http://127.0.0.1:5005\"]\n  capabilities = [\"pull\"]\n",
		"quay.io":              "# [host.\"http://localhost:5006\"]\n",
		"registry.example.com": `server = "https://localhost:5007"`,
	} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "hosts.toml"), []byte(settings), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]bool{"5000": true, "5001": true, "5002": true, "5005": true, "5007": true}
	if got := Ports(dir); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Ports(filepath.Join(dir, "away")); len(got) > 0 {
		t.Errorf("a missing folder names %v", got)
	}
}
