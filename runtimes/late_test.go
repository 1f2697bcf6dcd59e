package runtimes

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a call has started ends with it when it runs past its time: it would take a
// processor, or memory, for as long as the instance lives.
func TestLateCallsLeaveNothing(t *testing.T) {
	for name, source := range map[string]string{
		"python3": "import subprocess\ndef run(event, context):\n    subprocess.run([\"sh\", \"-c\", event[\"data\"]])\n",
		"ruby":    "def run(event, _context)\n  system('sh', '-c', event[:data])\nend\n",
		"php":     "<?php\nfunction run($event) { exec($event->data); }\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := Get(name)
			if err != nil {
				t.Fatal(err)
			}
			s := start(t, r, source, "run", hasty)
			file := filepath.Join(t.TempDir(), "pid")
			if status, got := s.call(t, "run", "text/plain", "echo $$ > "+file+"; sleep 1000 & wait"); status != http.StatusRequestTimeout {
				t.Fatalf("%d %s", status, got)
			}
			pid, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for range 1000 {
				stat, err := os.ReadFile(fmt.Sprintf("/proc/%s/stat", strings.TrimSpace(string(pid))))
				if err != nil || strings.Contains(string(stat), ") Z") { // the sandbox's first process waits for it
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Error("what it started is still there")
		})
	}
}
