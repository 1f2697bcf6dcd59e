package runtimes

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// A process that a function forked may outlive the worker: the server sees that the
// worker has ended all the same, and the next call has another.
func TestPythonWorkerThatForkedEnds(t *testing.T) {
	r, err := Get("python3")
	if err != nil {
		t.Fatal(err)
	}
	lasts := t.TempDir() + "/lasts"
	if err := os.WriteFile(lasts, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, r, fmt.Sprintf(`
import os, threading, time
def run(event, context):
    return globals()[event["event-type"]]()
def fork():
    if os.fork() == 0:
        for _ in range(3000):
            if os.path.exists(%q): time.sleep(0.1)
        os._exit(0)
    threading.Timer(0.2, os._exit, [0]).start()
    return str(os.getpid())
def who():
    return str(os.getpid())
`, lasts), "run", patient)
	_, pid := s.call(t, "fork", "text/plain", "")
	for stat := pid; stat != "" && !strings.Contains(stat, ") Z"); time.Sleep(20 * time.Millisecond) {
		data, _ := os.ReadFile("/proc/" + pid + "/stat")
		stat = string(data)
	}
	if status, got := s.call(t, "who", "text/plain", ""); status != http.StatusOK || got == pid {
		t.Errorf("after process %s ended: %d %q", pid, status, got)
	}
}

// Where the server can have no more files, a call that needs a process more is
// refused, and all others go on.
func TestPythonServerWithoutMoreFiles(t *testing.T) {
	r, err := Get("python3")
	if err != nil {
		t.Fatal(err)
	}
	const files = 24
	r.Command = append([]string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, files), "sh"}, r.Command...)
	lasts := t.TempDir() + "/lasts"
	if err := os.WriteFile(lasts, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, r, fmt.Sprintf(`
import os, time
print("the server is process", os.getppid(), flush=True)
def run(event, context):
    while os.path.exists(%q): time.sleep(0.01)
    return "x"
`, lasts), "run", patient)
	var all []net.Conn
	for range files { // of which the server accepts as many as it can
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	var pid int
	if _, said, _ := strings.Cut(s.log.String(), "the server is process "); said != "" {
		_, _ = fmt.Sscan(said, &pid)
	}
	for range 1500 {
		if open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); len(open) >= files {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	const calls = 3 // of connections that it has
	statuses := make(chan int, calls)
	for _, c := range all[:calls] {
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: f\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		go func() {
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Error(err)
				statuses <- 0
				return
			}
			statuses <- resp.StatusCode
		}()
	}
	if status := <-statuses; status != http.StatusInternalServerError {
		t.Errorf("a call without a process was answered with %d", status)
	}
	if err := os.Remove(lasts); err != nil {
		t.Fatal(err)
	}
	made := 0
	for range calls - 1 {
		if <-statuses == http.StatusOK {
			made++
		}
	}
	if made == 0 {
		t.Error("no call was made")
	}
	for _, c := range all {
		c.Close()
	}
	for range 1500 { // while the server still sees to those that are closed
		if status, _ := s.call(t, "run", "text/plain", ""); status == http.StatusOK {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("there is no process for any call later")
}
