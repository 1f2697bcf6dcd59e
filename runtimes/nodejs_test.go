package runtimes

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// A call that waits for a program, which no force on its thread ends, is answered
// when its time is over; then the server ends, for the node to start it anew.
func TestThreadThatForceDoesNotEnd(t *testing.T) {
	r, err := Get("nodejs")
	if err != nil {
		t.Fatal(err)
	}
	lasts := t.TempDir() + "/lasts"
	if err := os.WriteFile(lasts, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	source := fmt.Sprintf("module.exports = { run: () => require('child_process').execSync('while [ -e %s ]; do sleep 0.1; done') };\n", lasts)
	s := start(t, r, source, "run", "1")
	if status, got := s.call(t, "wait", "text/plain", ""); status != http.StatusRequestTimeout || !strings.Contains(got, "within 1 seconds") {
		t.Errorf("got %d %q", status, got)
	}
	s.checkLog(t, map[string]float64{"request-wait": http.StatusRequestTimeout})
	for range 1500 {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			return
		}
		c.Close()
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the server goes on with a thread that has not ended")
}
