package runtimes

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const breeding = `
def run(event, _context)
  case event[:data]
  when 'server' then File.read("/proc/#{Process.ppid}/stat").split(') ').last.split[1]
  when 'breeder' then Process.kill(:KILL, Process.ppid).to_s
  when 'leave' then exit!(3)
  else event[:data]
  end
end
`

// Without the process that starts those of calls, the server ends, although nobody
// calls: it would answer no call, and seem healthy.
func TestRubyServerEndsWithItsBreeder(t *testing.T) {
	r, err := Get("ruby")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, r, breeding, "run", patient)
	// Its own answer comes, or the server ends before.
	if status, got, err := s.tryAs("id-1", "run", "text/plain", "breeder"); err == nil && status != http.StatusOK {
		t.Fatalf("%d %s", status, got)
	}
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(s.url + "/healthz")
		if err != nil {
			return
		}
		resp.Body.Close()
	}
	t.Error("the server still says that it is healthy")
}

// At the limit of its files a server says why a call cannot be made, and makes
// calls again once it is below.
func TestRubyServerAtItsFileLimit(t *testing.T) {
	r, err := Get("ruby")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, r, breeding, "run", patient)
	_, server := s.call(t, "run", "text/plain", "server")
	pid, err := strconv.Atoi(server)
	if err != nil {
		t.Fatal(err)
	}
	if status, got := s.call(t, "run", "text/plain", "leave"); status != http.StatusInternalServerError {
		t.Fatalf("%d %s", status, got)
	}
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: before.Max}, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 { // in the connection that there is
		if status, got := s.call(t, "run", "text/plain", "x"); status != http.StatusInternalServerError || !strings.Contains(got, "cannot be started") {
			t.Errorf("at the limit: %d %q", status, got)
		}
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"leave", "x", "y"} {
		if _, got := s.call(t, "run", "text/plain", data); data != "leave" && got != data {
			t.Errorf("below it again: %q, want %q", got, data)
		}
	}
}

// Where it can have no more threads, a server loses a connection, and goes on.
func TestRubyServerWithoutMoreThreads(t *testing.T) {
	r, err := Get("ruby")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	none, limit := filepath.Join(dir, "none"), filepath.Join(dir, "limit.rb")
	err = os.WriteFile(limit, fmt.Appendf(nil, `
class << Thread
  alias made new
  def new(&block) = File.exist?(%q) ? raise(ThreadError, "can't create Thread: Resource temporarily unavailable") : made(&block)
end
`, none), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r.Command = append([]string{r.Command[0], "-r", limit}, r.Command[1:]...)
	s := start(t, r, breeding, "run", patient)
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	if err := os.WriteFile(none, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if resp, err := client.Get(s.url + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("an answer without a thread")
	}
	if err := os.Remove(none); err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(s.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
