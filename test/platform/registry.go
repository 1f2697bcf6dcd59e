package platform

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"redoubt.dev/redoubt/internal/image/oci"
	"redoubt.dev/redoubt/internal/thread"
)

// User and Password open a protected Registry.
const (
	User     = "tester"
	Password = "open sesame"
	// htpasswd is them, as bcrypt has it.
	htpasswd = User + ":$2a$05$bQry9AgwUe4Kan4FmXZW6OI680TwlW7OSUOdu1egupxapi8XHrgVG\n"
)

// Registry is a real registry in plain HTTP on the host's loopback. What is
// in it ends with it.
type Registry struct {
	// Host is its address, as the name of an image has it.
	Host      string
	protected bool
}

// BuildRegistry makes the program that StartRegistry needs.
func BuildRegistry(t *testing.T) string {
	t.Helper()
	redoubt, err := Program()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "registry")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", program, ".")
	cmd.Dir = filepath.Join(filepath.Dir(redoubt), "..", "test", "registry")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the registry: %v\n%s", err, out)
	}
	return program
}

// StartRegistry runs the program until the test ends; protected, it serves
// nobody but User.
func StartRegistry(t *testing.T, program string, protected bool) *Registry {
	t.Helper()
	r := &Registry{Host: freeAddress(t), protected: protected}
	dir := t.TempDir()
	config := fmt.Sprintf("version: 0.1\nlog: {accesslog: {disabled: true}}\nstorage: {inmemory: {}}\nhttp: {addr: %q}\n", r.Host)
	if protected {
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %q}}\n", filepath.Join(dir, "htpasswd"))
	}
	for name, text := range map[string]string{"config.yml": config, "htpasswd": htpasswd} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var output bytes.Buffer
	cmd := exec.Command(program, "serve", filepath.Join(dir, "config.yml"))
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ended, err := thread.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the registry said:\n%s", output.String())
		}
	})
	Eventually(t, "registry", func() error {
		_, err := r.request(http.MethodGet, "/v2/", "", nil)
		return err
	})
	return r
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Push stores image as repository:tag, in the steps of the distribution
// specification, and returns its complete name.
func (r *Registry) Push(t *testing.T, image *oci.Image, repository, tag string) string {
	t.Helper()
	blobs := []oci.Blob{image.Config}
	for _, l := range image.Layers {
		blobs = append(blobs, l.Blob)
	}
	for _, b := range blobs {
		if err := r.pushBlob(repository, b); err != nil {
			t.Fatal(err)
		}
	}
	m, err := read(image.Manifest)
	if err == nil {
		_, err = r.request(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, image.Manifest.Descriptor.MediaType, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.Host + "/" + repository + ":" + tag
}

func (r *Registry) pushBlob(repository string, b oci.Blob) error {
	data, err := read(b)
	if err != nil {
		return err
	}
	resp, err := r.request(http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "", nil)
	if err != nil {
		return err
	}
	to, err := resp.Location()
	if err != nil {
		return err
	}
	query := to.Query()
	query.Set("digest", b.Descriptor.Digest.String())
	_, err = r.request(http.MethodPut, to.Path+"?"+query.Encode(), "application/octet-stream", data)
	return err
}

// request makes a request that must succeed.
func (r *Registry) request(method, path, contentType string, body []byte) (*http.Response, error) {
	req, err := http.NewRequest(method, "http://"+r.Host+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if r.protected {
		req.SetBasicAuth(User, Password)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	client := &http.Client{Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, strings.TrimSpace(string(text)))
	}
	return resp, nil
}

func read(b oci.Blob) ([]byte, error) {
	r, err := b.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
