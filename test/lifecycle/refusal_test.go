package lifecycle

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"redoubt.dev/redoubt/test/platform"
)

// What cannot work is refused at once, naming the flag, and leaves no trace.
func TestUpRefuses(t *testing.T) {
	redoubt, err := platform.Program()
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := fmt.Sprint(taken.Addr().(*net.TCPAddr).Port)
	const usage, failed = 2, 1
	for _, test := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"--name=Not_A_Name"}, usage, []string{"--name", "lower-case"}},
		{[]string{"--name=" + strings.Repeat("a", 33)}, usage, []string{"--name", "32"}},
		{[]string{"--http-port=70000"}, usage, []string{"--http-port", "65535"}},
		{[]string{"--http-port=9000", "--api-port=9000"}, usage, []string{"--http-port", "--api-port"}},
		{[]string{"--pod-range=10.0.0.0/8"}, usage, []string{"--pod-range"}},
		{[]string{"--pod-range=198.18.0.0/16", "--service-range=198.18.0.0/20"}, usage, []string{"overlap"}},
		{[]string{"--pod-range=nonsense"}, usage, []string{"pod-range"}},
		{[]string{"--no-such-flag"}, usage, []string{"no-such-flag"}},
		{[]string{"surplus"}, usage, []string{"surplus"}},
		{[]string{"--http-port=" + port, "--api-port=0"}, failed, []string{"port " + port + " is in use", "--http-port"}},
		{[]string{"--http-port=0", "--api-port=0", "--data-dir=/proc/none"}, failed, []string{"/proc/none", "choose another data folder with --data-dir"}},
		{[]string{"--http-port=0", "--api-port=0", "--data-dir=/dev/null"}, failed, []string{"/dev/null", "choose another data folder with --data-dir"}},
		{[]string{"--http-port=0", "--api-port=" + port}, failed, []string{"port " + port + " is in use", "--api-port"}},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			args := append([]string{"up", "--data-dir=" + t.TempDir()}, test.args...)
			if !strings.HasPrefix(test.args[0], "--name") {
				args = append(args, "--name=refused")
			}
			cmd := exec.Command(redoubt, args...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != test.code {
				t.Errorf("%v, want exit code %d", err, test.code)
			}
			for _, part := range test.says {
				if !strings.Contains(stderr.String(), part) {
					t.Errorf("does not say %q: %s", part, stderr.String())
				}
			}
			if _, err := os.Stat("/run/redoubt/refused/state.json"); err == nil {
				t.Error("an instance was left behind")
			}
		})
	}
}

// A boot that does not succeed ends what it started and says why.
func TestFailedBootLeavesNothing(t *testing.T) {
	redoubt, err := platform.Program()
	if err != nil {
		t.Fatal(err)
	}
	before, err := look()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(redoubt, "up", "--name=failed", "--data-dir="+t.TempDir(), "--http-port=0", "--api-port=0", "--wait=1s")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "not done within 1s (--wait)") {
		t.Errorf("%v, want exit code 1 and the reason:\n%s", err, out)
	}
	after, err := look()
	if err != nil {
		t.Fatal(err)
	}
	if left := after.since(before); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// Purging never reaches through a mount that somebody made in the data folder.
func TestPurgeKeepsForeignMounts(t *testing.T) {
	p, err := platform.Boot("mounted", "--bare")
	if err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(p.Inst.DataDir, "foreign")
	if err := os.Mkdir(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", foreign, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(foreign, "precious")
	if err := os.WriteFile(precious, []byte("data"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := p.End(); err == nil || !strings.Contains(err.Error(), "umount "+foreign) {
		t.Errorf("down --purge: %v, want it to name the mount", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("what is in the mount is gone: %v", err)
	}
	if err := unix.Unmount(foreign, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.End(); err != nil {
		t.Error(err)
	}
}
