package runtimes

import (
	"net/http"
	"testing"
	"time"
)

// A process that waits for its next call waits for as long as it takes: one that
// gave up by itself would do so when a frozen instance goes on, under the call
// that it goes on for.
func TestPHPWorkersWaitForCalls(t *testing.T) {
	r, err := Get("php")
	if err != nil {
		t.Fatal(err)
	}
	last := len(r.Command) - 1
	r.Command = append(append(append([]string{}, r.Command[:last]...), "-d", "default_socket_timeout=1"), r.Command[last])
	s := start(t, r, "<?php\nfunction run($event, $context) { return (string) getmypid(); }\n", "run", patient)
	_, first := s.call(t, "run", "text/plain", "")
	time.Sleep(1500 * time.Millisecond)
	if status, next := s.call(t, "run", "text/plain", ""); status != http.StatusOK || next != first {
		t.Errorf("a while later: %d, process %s, before it %s", status, next, first)
	}
}
