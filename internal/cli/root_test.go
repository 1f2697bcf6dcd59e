package cli

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A command that reads the standard input ends at the second signal.
func TestSecondSignalEndsReading(t *testing.T) {
	if os.Getenv("REDOUBT_TEST_MAIN") != "" {
		os.Args = []string{"redoubt", "service", "apply", "-f", "-"}
		os.Exit(Main())
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSecondSignalEndsReading$")
	cmd.Env = append(os.Environ(), "REDOUBT_TEST_MAIN=1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd.Stdin = r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	// More than a pipe holds: once it is written, the command reads.
	if err := w.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString(strings.Repeat(" ", 1<<19)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for range 300 {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	_ = cmd.Process.Kill()
	t.Fatal("the command goes on reading")
}

// An empty name is a mistake, and not that of the instance that needs none.
func TestEmptyNameIsRefused(t *testing.T) {
	for _, command := range []string{"status", "down", "kubeconfig"} {
		if err := run(command, "--name="); err == nil || !strings.Contains(err.Error(), "--name is empty") {
			t.Errorf("%s: %v", command, err)
		}
	}
}

// Wrong arguments are answered with what the command takes, called by its
// whole name.
func TestWrongArguments(t *testing.T) {
	for command, want := range map[string]string{
		"image tag a":             "'image tag' takes NAME NEW-NAME, not \"a\"; see: redoubt image tag --help",
		"logs":                    "'logs' takes COMPONENT; see: redoubt logs --help",
		"status x":                "'status' takes no arguments, not \"x\"; see: redoubt status --help",
		"trigger http delete a b": "'trigger http delete' needs the name of one trigger",
		"autoscale create":        "'autoscale create' needs the name of one function",
		"image push":              `there is no command "redoubt image push"; see: redoubt image --help`,
	} {
		err := run(strings.Fields(command)...)
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Code != 2 || err.Error() != want {
			t.Errorf("%s: %v, want %s", command, err, want)
		}
	}
}
