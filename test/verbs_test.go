package test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"redoubt.dev/redoubt/test/platform"
)

// kubectl's verbs do in every class what they do with plain containers.
func TestVerbsInEveryClass(t *testing.T) {
	inEveryClass(t, func(t *testing.T, class, ns string) {
		submit(t, ns, class, "terminal")
		pod := apply(t, ns, class, "verbs")
		for _, verb := range []struct {
			name string
			test func(*testing.T, *corev1.Pod)
		}{
			{"logs", logs}, {"follow", follow}, {"exec", execute}, {"input", input}, {"attach", attach},
			{"cp", copyFiles}, {"port-forward", forward}, {"terminal", interact}, {"debug", debug}, {"top", top}, {"describe", describe},
		} {
			t.Run(verb.name, func(t *testing.T) { verb.test(t, pod) })
		}
	})
}

func kubectl(t *testing.T, pod *corev1.Pod, args ...string) *exec.Cmd {
	return shared.Command(t.Context(), append([]string{"kubectl", "-n", pod.Namespace}, args...)...)
}

func logs(t *testing.T, pod *corev1.Pod) {
	platform.Eventually(t, "three lines of either kind", func() error {
		out := shared.Kubectl(t, "-n", pod.Namespace, "logs", pod.Name, "-c", "main")
		if !strings.Contains(out, "line 1\n") || !strings.Contains(out, "line 3\n") || !strings.Contains(out, "error 3\n") {
			return fmt.Errorf("log: %q", out)
		}
		return nil
	})
	out := shared.Kubectl(t, "-n", pod.Namespace, "logs", pod.Name, "-c", "main", "--tail=1", "--timestamps")
	if !regexp.MustCompile(`^20\d\d-\S+ (line|error) \d+\n$`).MatchString(out) {
		t.Errorf("the last line with its time: %q", out)
	}
}

// follow sees lines that were not written yet when it began.
func follow(t *testing.T, pod *corev1.Pod) {
	cmd := kubectl(t, pod, "logs", "-f", "--tail=1", pod.Name, "-c", "main")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 4 {
		if !lines.Scan() {
			t.Errorf("the log ended early: %v", lines.Err())
			break
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	shared.Kubectl(t, "-n", pod.Namespace, "exec", pod.Name, "-c", "main", "--", "touch", "/quiet")
}

// execute keeps the two outputs apart and passes the exit code on.
func execute(t *testing.T, pod *corev1.Pod) {
	cmd := kubectl(t, pod, "exec", pod.Name, "-c", "main", "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 42")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 42 {
		t.Errorf("ended with %v, want exit code 42", err)
	}
	if stdout.String() != "out\n" || !strings.HasPrefix(stderr.String(), "err\n") {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
	out, err := kubectl(t, pod, "exec", pod.Name, "-c", "main", "--", "/no/such/program").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "/no/such/program") {
		t.Errorf("a program that is not there: %v, %s", err, out)
	}
}

// input passes a megabyte through a command, unchanged.
func input(t *testing.T, pod *corev1.Pod) {
	data := noise(t, 1<<20)
	cmd := kubectl(t, pod, "exec", "-i", pod.Name, "-c", "main", "--", "cat")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil || !bytes.Equal(out, data) {
		t.Errorf("%d bytes came back as %d, %v", len(data), len(out), err)
	}
}

func attach(t *testing.T, pod *corev1.Pod) {
	cmd := kubectl(t, pod, "attach", "-i", pod.Name, "-c", "listener")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	if _, err := io.WriteString(in, "you\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "heard you\n" {
		t.Errorf("answer %q, %v", line, err)
	}
}

func copyFiles(t *testing.T, pod *corev1.Pod) {
	dir, data := t.TempDir(), noise(t, 1<<20)
	if err := os.Mkdir(filepath.Join(dir, "there"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"big": data, "empty": nil} {
		if err := os.WriteFile(filepath.Join(dir, "there", name), content, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := kubectl(t, pod, append([]string{"cp", "-c", "main"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("cp %v: %v: %s", args, err, out)
		}
	}
	run(filepath.Join(dir, "there"), pod.Name+":/copied")
	run(pod.Name+":/copied", filepath.Join(dir, "back"))
	if got, err := os.ReadFile(filepath.Join(dir, "back", "big")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back as %d, %v", len(data), len(got), err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "back", "empty")); err != nil || len(got) != 0 {
		t.Errorf("an empty file came back with %d bytes, %v", len(got), err)
	}
}

func forward(t *testing.T, pod *corev1.Pod) {
	address, end := forwarding(t, pod)
	defer end()
	for range 3 { // each request is a connection of its own
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + address + "/index.html")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "served\n" || err != nil {
			t.Errorf("answer %q, %v", body, err)
		}
	}
}

// forwarding forwards a port to the pod's port 8080 until end is called.
func forwarding(t *testing.T, pod *corev1.Pod) (address string, end func()) {
	t.Helper()
	cmd := kubectl(t, pod, "port-forward", "pod/"+pod.Name, ":8080")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	t.Cleanup(end)
	line, err := bufio.NewReader(out).ReadString('\n')
	address = regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	if address == "" {
		t.Fatalf("port-forward says %q, %v", line, err)
	}
	return address, end
}

// interact uses a shell as a user does: a command's own terminal, and that of
// the container's first process.
func interact(t *testing.T, pod *corev1.Pod) {
	shared.Kubectl(t, "-n", pod.Namespace, "wait", "--for=condition=Ready", "--timeout=90s", "pod/terminal")
	for name, cmd := range map[string]*exec.Cmd{
		"exec":   kubectl(t, pod, "exec", "-it", pod.Name, "-c", "main", "--", "/bin/sh"),
		"attach": kubectl(t, pod, "attach", "-it", "terminal"),
	} {
		t.Run(name, func(t *testing.T) {
			term := openTerminal(t, 33, 111, cmd)
			term.keys("\n")
			term.shows("#")
			platform.Eventually(t, "the terminal's size", func() error {
				term.keys("echo size $(stty size)\n")
				term.mu.Lock()
				defer term.mu.Unlock()
				if !strings.Contains(term.screen.String(), "size 33 111") {
					return fmt.Errorf("it shows %q", term.screen.String())
				}
				return nil
			})
			term.keys("test -t 0 && echo terminal_$((6 * 7))\n")
			term.shows("terminal_42")
			// One job, so that the terminal is its own before it says so.
			term.keys("sh -c 'echo begun; exec sleep 3600'\n")
			term.shows("\nbegun")
			term.keys("\x03")
			term.keys("echo interrupted $?\n")
			term.shows("interrupted 130")
			if name == "attach" {
				return // its shell goes on: others may be attached
			}
			term.keys("exit 7\n")
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
				t.Errorf("ended with %v, want exit code 7", err)
			}
		})
	}
}

// debug adds a container to the running pod.
func debug(t *testing.T, pod *corev1.Pod) {
	out, err := kubectl(t, pod, "debug", pod.Name, "--image="+shellImage, "--image-pull-policy=Never", "-c", "looker", "--profile=general",
		"--", "/bin/sh", "-c", "wget -q -O - http://127.0.0.1:8080/index.html").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	platform.Eventually(t, "the added container's answer", func() error {
		out, err := kubectl(t, pod, "logs", pod.Name, "-c", "looker").CombinedOutput()
		if err != nil || string(out) != "served\n" {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})
}

func top(t *testing.T, pod *corev1.Pod) {
	// A shell alone takes less than a megabyte in a plain container.
	shared.Kubectl(t, "-n", pod.Namespace, "exec", pod.Name, "-c", "main", "--", "dd", "if=/dev/zero", "of=/dev/shm/fill", "bs=1M", "count=8")
	row := regexp.MustCompile(`(?m)^verbs +main +\d+m +[1-9]\d*Mi *$`)
	platform.Eventually(t, "the metrics API", func() error {
		out, err := kubectl(t, pod, "top", "pod", pod.Name, "--containers").CombinedOutput()
		if err == nil && !row.Match(out) {
			err = errors.New("a container without memory")
		}
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

func describe(t *testing.T, pod *corev1.Pod) {
	out := shared.Kubectl(t, "-n", pod.Namespace, "describe", "pod", pod.Name)
	for _, want := range []string{"Runtime Class Name:  " + *pod.Spec.RuntimeClassName, "State:          Running", "containerd://", "Started"} {
		if !strings.Contains(out, want) {
			t.Errorf("describe does not say %q:\n%s", want, out)
		}
	}
}

// noise is n random bytes.
func noise(t *testing.T, n int) []byte {
	t.Helper()
	data := make([]byte, n)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	return data
}
