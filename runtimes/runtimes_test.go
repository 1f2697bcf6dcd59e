package runtimes

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The same functions in every language; each runtime passes the same table.
var sources = map[string]string{
	"python3": `
import os, time
loaded = 0
def echo(event, context):
    return event["data"]
def kind(event, context):
    return type(event["data"]).__name__ in ("dict", "bytes") and ("object" if isinstance(event["data"], dict) else "bytes") or "text"
def about(event, context):
    return event["event-id"] + " " + event["event-type"] + " " + context["function-name"] + " " + context["timeout"]
def obj(event, context):
    return {"answer": 42}
def fail(event, context):
    raise ValueError("bad day")
def leave(event, context):
    os._exit(3)
def loop(event, context):
    while True: pass
def sleep(event, context):
    time.sleep(0.5)
    return "slept"
def nothing(event, context):
    return None
`,
	"nodejs": `
const kindOf = (d) => Buffer.isBuffer(d) ? 'bytes' : typeof d === 'object' ? 'object' : 'text';
module.exports = {
  echo: (event) => event.data,
  kind: (event) => kindOf(event.data),
  about: (event, context) => event['event-id'] + ' ' + event['event-type'] + ' ' + context['function-name'] + ' ' + context.timeout,
  obj: () => ({ answer: 42 }),
  fail: () => { throw new Error('bad day'); },
  leave: () => process.exit(3),
  loop: () => { for (;;); },
  sleep: async () => { await new Promise((r) => setTimeout(r, 500)); return 'slept'; },
  nothing: () => null,
};
`,
}

var programs = map[string]string{"python3": "python3", "nodejs": "node"}

// start runs a runtime's server with a source and returns its address.
func start(t *testing.T, r Runtime, source, handler string) string {
	t.Helper()
	program, err := exec.LookPath(programs[r.Name])
	if err != nil {
		t.Fatalf("the program %s is missing; install it with: make test", programs[r.Name])
	}
	dir := t.TempDir()
	server := filepath.Join(dir, filepath.Base(r.Server))
	code, err := r.Source()
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{server: code, filepath.Join(dir, "test"+r.Extension): []byte(source)} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, server)
	cmd.Env = append(os.Environ(), "MOD_NAME=test", "FUNC_HANDLER="+handler, "FUNC_NAME=f", "FUNC_TIMEOUT=2", "FUNC_PORT="+port, "FUNC_FOLDER="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	url := "http://127.0.0.1:" + port
	for range 500 {
		if resp, err := http.Get(url + "/healthz"); err == nil {
			resp.Body.Close()
			return url
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the server never became healthy")
	return ""
}

func call(t *testing.T, url, kind string, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("event-id", "id-1")
	req.Header.Set("event-type", "kind-1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func TestContract(t *testing.T) {
	large := strings.Repeat("x", 5<<20)
	for _, name := range Names() {
		r, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			handler, kind, body string
			status              int
			want                string
		}{
			{"echo", "text/plain", "Hello world!", 200, "Hello world!"},
			{"echo", "application/json", `{"a":[1]}`, 200, `{"a":[1]}`},
			{"echo", "text/plain", large, 200, large},
			{"kind", "application/json", `{"a":1}`, 200, "object"},
			{"kind", "text/plain", "plain", 200, "text"},
			{"kind", "application/octet-stream", "\xff\xfe\x00", 200, "bytes"},
			{"about", "text/plain", "", 200, "id-1 kind-1 f 2"},
			{"obj", "text/plain", "", 200, `{"answer":42}`},
			{"nothing", "text/plain", "", 200, ""},
			{"fail", "text/plain", "", 500, "bad day"},
			{"leave", "text/plain", "", 500, "without an answer"},
			{"loop", "text/plain", "", 408, "2 seconds"},
			{"echo", "application/json", `{"a":`, 400, "not the JSON"},
			{"absent", "text/plain", "", 500, "has no function absent"},
		} {
			t.Run(name+"/"+tc.handler+"/"+tc.want[:min(len(tc.want), 12)], func(t *testing.T) {
				t.Parallel()
				url := start(t, r, sources[name], tc.handler)
				for range 2 { // the second call shows that the first did no harm
					status, got := call(t, url, tc.kind, []byte(tc.body))
					got = strings.ReplaceAll(got, " ", "")
					want := strings.ReplaceAll(tc.want, " ", "")
					if status != tc.status || tc.status == 200 && got != want || !strings.Contains(got, want) {
						t.Fatalf("got %d %.200q, want %d %.200q", status, got, tc.status, want)
					}
				}
			})
		}
	}
}

func TestCallsRunAtTheSameTime(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			r, _ := Get(name)
			url := start(t, r, sources[name], "sleep")
			var all sync.WaitGroup
			var mu sync.Mutex
			inside, most := 0, 0
			for range 4 {
				all.Go(func() {
					mu.Lock()
					inside++
					most = max(most, inside)
					mu.Unlock()
					if status, got := call(t, url, "text/plain", nil); status != 200 || got != "slept" {
						t.Errorf("got %d %q", status, got)
					}
					mu.Lock()
					inside--
					mu.Unlock()
				})
			}
			all.Wait()
			if most < 2 {
				t.Errorf("at most %d calls at a time", most)
			}
		})
	}
}

func TestMetricsCountCallsAndFailures(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			r, _ := Get(name)
			url := start(t, r, sources[name], "fail")
			call(t, url, "text/plain", nil)
			resp, err := http.Get(url + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			for _, metric := range []string{"function_calls_total", "function_failures_total"} {
				if line := fmt.Sprintf("%s{method=\"POST\"} 1\n", metric); !strings.Contains(string(text), line) {
					t.Errorf("no line %q in:\n%s", line, text)
				}
			}
		})
	}
}

// The talk's function was written for Python 2.
func TestPython2SourceIsExplained(t *testing.T) {
	r, _ := Get("python3")
	url := start(t, r, "def hello(event, context):\n    print event\n    return event['data']\n", "hello")
	status, got := call(t, url, "text/plain", []byte("x"))
	if status != 500 || !strings.Contains(got, "test.py, line 2") || !strings.Contains(got, "print(event)") {
		t.Errorf("got %d %q", status, got)
	}
}

// Whoever deploys a function learns from its health that it cannot be loaded.
func TestHealthTellsWhatIsWrong(t *testing.T) {
	for _, name := range Names() {
		r, _ := Get(name)
		for handler, want := range map[string]string{"echo": "OK", "absent": "problem: test" + r.Extension + " has no function absent"} {
			resp, err := http.Get(start(t, r, sources[name], handler) + "/healthz")
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(got), want) {
				t.Errorf("%s, %s: got %d %q, want %q", name, handler, resp.StatusCode, got, want)
			}
		}
	}
}

func TestUnknownRuntimeIsNamed(t *testing.T) {
	if _, err := Get("cobol"); err == nil || !strings.Contains(err.Error(), "python3") {
		t.Errorf("got %v", err)
	}
}
