package runtimes

import (
	"fmt"
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
