package runtimes

import (
	"net/http"
	"testing"
)

// A function may fork, and its fork may return or end as programs do: who called has
// one answer, and the next another call's.
func TestForksDoNotAnswer(t *testing.T) {
	for name, source := range map[string]string{
		"python3": `
import os, sys
def run(event, context):
    if event["data"].startswith("fork"):
        pid = os.fork()
        if pid == 0:
            if event["data"] == "fork and exit": sys.exit(0)
            return "the fork's"
        os.waitpid(pid, 0)
    return event["data"]
`,
		"ruby": `
def run(event, _context)
  if event[:data].start_with?('fork')
    pid = fork
    if pid.nil?
      exit if event[:data] == 'fork and exit'
      return "the fork's"
    end
    Process.wait(pid)
  end
  event[:data]
end
`,
		"php": `<?php
function run($event) {
    if (str_starts_with($event->data, 'fork')) {
        $pid = pcntl_fork();
        if ($pid === 0) {
            if ($event->data === 'fork and exit') exit;
            return "the fork's";
        }
        pcntl_waitpid($pid, $status);
    }
    return $event->data;
}
`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := Get(name)
			if err != nil {
				t.Fatal(err)
			}
			s := start(t, r, source, "run", patient)
			for _, want := range []string{"fork", "one", "fork and exit", "two"} {
				if status, got := s.call(t, "run", "text/plain", want); status != http.StatusOK || got != want {
					t.Errorf("got %d %q, want %q", status, got, want)
				}
			}
		})
	}
}
