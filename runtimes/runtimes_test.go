package runtimes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// sources are the same functions in every language. The handler "run" calls
// the one that the event's type names, so that one server passes the whole
// table and what one call breaks would show in the next.
var sources = map[string]string{
	"python3": `
import os, time
def run(event, context):
    return globals()[event["event-type"]](event, context)
def three(event, context, more):
    return "never"
def echo(event, context):
    return event["data"]
def kind(event, context):
    return {dict: "object", bytes: "bytes"}.get(type(event["data"]), "text")
def about(event, context):
    return event["event-id"] + " " + event["event-type"] + " " + context["function-name"] + " " + context["timeout"]
def obj(event, context):
    return {"answer": 42}
def cloud(event, context):
    return {"specversion": "1.0", "id": event["event-id"], "source": event["event-namespace"], "type": "made", "data": event["data"]}
def fail(event, context):
    raise ValueError("bad day")
def leave(event, context):
    os._exit(3)
def loop(event, context):
    while True: pass
def meet(event, context):
    open(event["data"] + "/" + event["event-id"], "w").close()
    while len(os.listdir(event["data"])) < 4: time.sleep(0.01)
    return "met"
def nothing(event, context):
    return None
def big(event, context):
    return "x" * (65 << 20)
`,
	"nodejs": `
const fs = require('fs');
const kindOf = (d) => Buffer.isBuffer(d) ? 'bytes' : typeof d === 'object' ? 'object' : 'text';
const all = {
  run: (event, context) => all[event['event-type']](event, context),
  echo: (event) => event.data,
  kind: (event) => kindOf(event.data),
  about: (event, context) => event['event-id'] + ' ' + event['event-type'] + ' ' + context['function-name'] + ' ' + context.timeout,
  obj: () => ({ answer: 42 }),
  cloud: (event) => ({ specversion: '1.0', id: event['event-id'], source: event['event-namespace'], type: 'made', data: event.data }),
  fail: () => { throw new Error('bad day'); },
  leave: () => process.exit(3),
  loop: () => { for (;;); },
  meet: async (event) => {
    fs.writeFileSync(event.data + '/' + event['event-id'], '');
    while (fs.readdirSync(event.data).length < 4) await new Promise((r) => setTimeout(r, 10));
    return 'met';
  },
  nothing: () => null,
  big: () => 'x'.repeat(65 << 20),
  three: 3,
};
module.exports = all;
`,
	"ruby": `
def run(event, context)
  send(event[:'event-type'], event, context)
end
def three(event, context, more) = 'never'
def echo(event, _context) = event[:data]
def kind(event, _context)
  return 'object' if event['data'].is_a?(Hash)
  event[:data].encoding == Encoding::BINARY ? 'bytes' : 'text'
end
def about(event, context)
  "#{event['event-id']} #{event['event-type']} #{context['function-name']} #{context[:timeout]}"
end
def obj(_event, _context) = { answer: 42 }
def cloud(event, _context) = { specversion: '1.0', id: event['event-id'], source: event['event-namespace'], 'type' => 'made', data: event[:data] }
def fail(_event, _context) = raise('bad day')
def leave(_event, _context) = exit!(3)
def loop(_event, _context)
  while true do end
end
def meet(event, _context)
  File.write("#{event[:data]}/#{event['event-id']}", '')
  sleep(0.01) while Dir.children(event[:data]).size < 4
  'met'
end
def nothing(_event, _context) = nil
def big(_event, _context) = 'x' * (65 << 20)
`,
	"php": `<?php
function run($event, $context) { return ('_' . $event->{'event-type'})($event, $context); }
function three($event, $context, $more) { return 'never'; }
function _echo($event) { return $event->data; }
function _kind($event) {
    if (is_object($event->data)) return 'object';
    return preg_match('//u', $event->data) ? 'text' : 'bytes';
}
function _about($event, $context) {
    return $event->{'event-id'} . ' ' . $event->{'event-type'} . ' ' . $context->{'function-name'} . ' ' . $context->timeout;
}
function _obj() { return ['answer' => 42]; }
function _cloud($event) { return ['specversion' => '1.0', 'id' => $event->{'event-id'}, 'source' => $event->{'event-namespace'}, 'type' => 'made', 'data' => $event->data]; }
function _fail() { throw new Exception('bad day'); }
function _leave() { exit(3); }
function _loop() { while (true); }
function _meet($event) {
    touch($event->data . '/' . $event->{'event-id'});
    while (count(scandir($event->data)) < 4 + 2) usleep(10000);
    return 'met';
}
function _nothing() { return null; }
function _big() { return str_repeat('x', 65 << 20); }
`,
	"java": `
import io.kubeless.Context;
import io.kubeless.Event;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
public class test {
    public Object run(Event event, Context context) throws Exception {
        switch (event.EventType) {
        case "echo": return event.Data;
        case "kind": return event.Data == null ? "bytes" : event.Data.startsWith("{") ? "object" : "text";
        case "about": return event.EventID + " " + event.EventType + " " + context.FunctionName + " " + context.Timeout;
        case "obj": return Map.of("answer", 42);
        case "cloud": return Map.of("specversion", "1.0", "id", event.EventID, "source", event.EventNamespace, "type", "made", "data", event.Data);
        case "fail": throw new IllegalStateException("bad day");
        case "leave": System.exit(3);
        case "loop": while (true) { }
        case "meet":
            Files.createFile(Path.of(event.Data, event.EventID));
            while (new File(event.Data).list().length < 4) Thread.sleep(10);
            return "met";
        case "big": return "x".repeat(65 << 20);
        }
        return null;
    }
    public String three(Event event, Context context, String more) { return "never"; }
}
`,
	"go": `
package kubeless

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/kubeless/kubeless/pkg/functions"
)

func Run(event functions.Event, context functions.Context) (any, error) {
	switch event.EventType {
	case "echo":
		return event.Data, nil
	case "kind":
		switch strings.Split(event.Extensions.Request.Header.Get("Content-Type"), ";")[0] {
		case "application/json":
			return "object", nil
		case "application/octet-stream":
			return "bytes", nil
		}
		return "text", nil
	case "about":
		return fmt.Sprint(event.EventID, " ", event.EventType, " ", context.FunctionName, " ", context.Timeout), nil
	case "obj":
		return map[string]int{"answer": 42}, nil
	case "cloud":
		return map[string]string{"specversion": "1.0", "id": event.EventID, "source": event.EventNamespace, "type": "made", "data": event.Data}, nil
	case "fail":
		return nil, errors.New("bad day")
	case "leave":
		os.Exit(3)
	case "loop":
		for {
		}
	case "meet":
		if err := os.WriteFile(event.Data+"/"+event.EventID, nil, 0o600); err != nil {
			return nil, err
		}
		for {
			if all, err := os.ReadDir(event.Data); err != nil || len(all) >= 4 {
				return "met", err
			}
			time.Sleep(10 * time.Millisecond)
		}
	case "big":
		return strings.Repeat("x", 65<<20), nil
	}
	return nil, nil
}

func Three(event functions.Event, context functions.Context, more string) (string, error) { return "never", nil }
`,
	"wasm": `
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

func main() {
	in, _ := io.ReadAll(os.Stdin)
	get := os.Getenv
	switch get("EVENT_TYPE") {
	case "echo":
		os.Stdout.Write(in)
	case "kind":
		fmt.Print(map[string]string{"application/json": "object", "application/octet-stream": "bytes", "text/plain": "text"}[get("CONTENT_TYPE")])
	case "about":
		fmt.Print(get("EVENT_ID"), " ", get("EVENT_TYPE"), " ", get("FUNC_NAME"), " ", get("FUNC_TIMEOUT"))
	case "obj":
		fmt.Print("{\"answer\":42}")
	case "cloud":
		fmt.Printf("{\"specversion\":\"1.0\",\"id\":%q,\"source\":%q,\"type\":\"made\",\"data\":%q}", get("EVENT_ID"), get("EVENT_NAMESPACE"), in)
	case "fail":
		panic("bad day")
	case "leave":
		os.Exit(3)
	case "loop":
		fmt.Fprintln(os.Stderr, "it loops")
		for {
		}
	case "big":
		os.Stdout.Write(bytes.Repeat([]byte("x"), 65<<20))
		for {
		}
	case "grow":
		fmt.Print(len(bytes.Repeat([]byte("x"), 200<<20)))
	case "file":
		if _, err := os.ReadDir("/"); err != nil {
			fmt.Println(err)
		}
	}
}
`,
	"binary": `#!/bin/bash
case "$EVENT_TYPE" in
echo) cat ;;
kind) case "$CONTENT_TYPE" in application/json) echo -n object ;; application/octet-stream) echo -n bytes ;; *) echo -n text ;; esac ;;
about) echo -n "$EVENT_ID $EVENT_TYPE $FUNC_NAME $FUNC_TIMEOUT" ;;
obj) echo -n '{"answer":42}' ;;
cloud) printf '{"specversion":"1.0","id":"%s","source":"%s","type":"made","data":"%s"}' "$EVENT_ID" "$EVENT_NAMESPACE" "$(cat)" ;;
fail) echo bad day >&2; exit 1 ;;
leave) exit 3 ;;
loop) while :; do :; done ;;
meet) dir=$(cat); : > "$dir/$EVENT_ID"; while [ $(ls "$dir" | wc -l) -lt 4 ]; do sleep 0.02; done; echo -n met ;;
big) head -c 68157440 /dev/zero ;;
esac
`,
}

// broken are sources that the language does not take.
var broken = map[string]struct{ source, says string }{
	"python3": {"def run(event, context):\n    return 'Hello\n", "test.py, line 2"},
	"nodejs":  {"module.exports = { run: () => 'Hello\n };\n", "SyntaxError"},
	"ruby":    {"def run(event, context)\n  'Hello'\n", "test.rb:2: syntax error"},
	"php":     {"<?php\nfunction run($event, $context) { return 'Hello'\n}\n", "ParseError in line 3"},
	"java":    {"public class test {\n  public String run() { return \"Hello\" }\n}\n", "line 2: ';' expected"},
	"binary":  {"#!/no/such/interpreter\n", "cannot be started"},
	"wasm":    {"no module", "test.wasm cannot be loaded: invalid magic number"},
	"go":      {"package kubeless\n\nfunc Run() string { return \"Hello }\n", "test.go:3:36: newline in string"},
}

// signatures are what a function that takes other arguments is answered with,
// in the languages that mind. Node.js has no signatures, so that there it is
// no function at all.
var signatures = map[string]string{
	"python3": "missing 1 required positional argument",
	"nodejs":  "test.js has no function three",
	"ruby":    "wrong number of arguments",
	"php":     "Too few arguments",
	"java":    "takes other arguments than an event and a context",
	"binary":  "test has no function three",
	"wasm":    "test.wasm has no function three",
	"go":      "does not match func(functions.Event, functions.Context)",
}

// server is one that runs.
type server struct {
	url string
	log *lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// command is the runtime's command on this machine: that of its image, with
// the server in a folder of the test.
func command(t *testing.T, r Runtime, dir string) []string {
	t.Helper()
	files, err := r.Files()
	if err != nil {
		t.Fatal(err)
	}
	if r.Compiled() {
		module, program := filepath.Join(dir, "module"), filepath.Join(dir, "server")
		for name, data := range files {
			file := filepath.Join(module, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, data, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		build := exec.Command("go", "build", "-o", program, "./"+r.Server)
		build.Dir = module
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return []string{program}
	}
	var args []string
	for _, arg := range r.Command {
		if data, ok := files[filepath.Base(arg)]; ok {
			arg = filepath.Join(dir, filepath.Base(arg))
			if err := os.WriteFile(arg, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, arg)
	}
	if _, err := os.Stat(args[0]); err != nil {
		t.Fatalf("the program is missing: %v; install it with: make test", err)
	}
	return args
}

// Times that a call may take, in seconds: hasty where it must run out.
const (
	patient = "60"
	hasty   = "2"
)

// start runs a runtime's server with a source.
func start(t *testing.T, r Runtime, source, handler, timeout string) server {
	t.Helper()
	return startWith(t, r, source, handler, timeout)
}

// startWith has more in its environment.
func startWith(t *testing.T, r Runtime, source, handler, timeout string, env ...string) server {
	t.Helper()
	if (r.Name == "binary" || r.Name == "wasm") && handler == "run" {
		handler = "stdio"
	}
	dir, folder := t.TempDir(), t.TempDir()
	if source != "" {
		writeSource(t, r, folder, source)
	}
	args := command(t, r, dir)
	if r.Build != nil && r.Build.Whole {
		program, out, err := compiled(t, r, folder, handler)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		args = append(args, program)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "MOD_NAME=test", "FUNC_HANDLER="+handler, "FUNC_NAME=f", "FUNC_TIMEOUT="+timeout, "FUNC_PORT="+port, "FUNC_FOLDER="+folder, "TMPDIR="+t.TempDir())
	cmd.Env = append(cmd.Env, env...)
	log := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s wrote: %.2000s", r.Name, log)
		}
	})
	s := server{"http://127.0.0.1:" + port, log}
	for range 1500 {
		if resp, err := http.Get(s.url + "/healthz"); err == nil {
			resp.Body.Close()
			return s
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the server never became healthy")
	return server{}
}

// writeSource puts a source into a function's folder. Modules are compiled from
// theirs, with Go: it is the one language here that makes them.
func writeSource(t *testing.T, r Runtime, folder, source string) {
	t.Helper()
	name := filepath.Join(folder, "test"+r.Extension)
	if r.Name != "wasm" || !strings.Contains(source, "package main") {
		if err := os.WriteFile(name, []byte(source), 0o700); err != nil {
			t.Fatal(err)
		}
		return
	}
	from := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(from, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", name, from)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// compiled runs the build of a runtime on this machine, and returns the program
// and what the build wrote.
func compiled(t *testing.T, r Runtime, folder, handler string) (program, out string, err error) {
	t.Helper()
	script, err := r.Build.ReadScript()
	if err != nil {
		t.Fatal(err)
	}
	sdk, err := SDK()
	if err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	for name, data := range sdk {
		file := filepath.Join(at, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/bin/sh", "-e", "-c", string(script))
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "FUNC_FOLDER="+folder, "SDK="+at, "FUNC_HANDLER="+exported(handler))
	written, err := cmd.CombinedOutput()
	return filepath.Join(cmd.Dir, "out", "handler"), string(written), err
}

// exported is a handler's name as Go's functions have theirs.
func exported(handler string) string { return strings.ToUpper(handler[:1]) + handler[1:] }

// call makes one, for the function that an event's type names.
func (s server) call(t *testing.T, function, kind, body string) (int, string) {
	t.Helper()
	return s.callAs(t, "id-1", function, kind, body)
}

func (s server) callAs(t *testing.T, id, function, kind, body string) (int, string) {
	t.Helper()
	status, answer, err := s.tryAs(id, function, kind, body)
	if err != nil {
		t.Fatal(err)
	}
	return status, answer
}

// tryAs makes a call that may have no answer.
func (s server) tryAs(id, function, kind, body string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // the test's end would not name the call
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("event-id", id)
	req.Header.Set("event-type", function)
	req.Header.Set("X-Request-Id", "request-"+function)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

func (s server) get(t *testing.T, path string) string {
	t.Helper()
	resp, err := http.Get(s.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	return string(text)
}

// eachRuntime runs a test for all of them at the same time.
func eachRuntime(t *testing.T, test func(t *testing.T, r Runtime)) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := Get(name)
			if err != nil {
				t.Fatal(err)
			}
			test(t, r)
		})
	}
}

// TestConformance is what every runtime passes.
func TestConformance(t *testing.T) {
	large := strings.Repeat("x", 5<<20)
	eachRuntime(t, func(t *testing.T, r Runtime) {
		s := start(t, r, sources[r.Name], "run", patient)
		if got := s.get(t, "/healthz"); got != "OK" {
			t.Errorf("a function that runs says of its health: %q", got)
		}
		calls, failures := 0, 0
		for _, tc := range []struct {
			function, kind, body string
			status               int
			want                 string
		}{
			{"echo", "text/plain", "Hello wörld!", 200, "Hello wörld!"},
			{"echo", "application/json", `{"a":[1,{"b":"ö\"\n"},null,-1.5e3,true]}`, 200, `{"a":[1,{"b":"ö\"\n"},null,-1500.0,true]}`},
			{"echo", "text/plain", large, 200, large},
			{"echo", "text/plain", strings.Repeat("x", 17<<20), 413, "larger than 16 MiB"},
			{"kind", "application/json", `{"a":1}`, 200, "object"},
			{"kind", "text/plain", "plain", 200, "text"},
			{"kind", "application/octet-stream", "\xff\xfe\x00", 200, "bytes"},
			{"about", "text/plain", "", 200, "id-1 about f 60"},
			{"obj", "text/plain", "", 200, `{"answer":42}`},
			{"nothing", "text/plain", "", 200, ""},
			{"fail", "text/plain", "", 500, "bad day"},
			{"leave", "text/plain", "", 500, "without an answer"},
			{"big", "text/plain", "", 500, "larger than 64 MiB"},
			{"echo", "application/json", `{"a":`, 400, "not the JSON"},
			{"echo", "application/json", `{"a":1,}`, 400, "not the JSON"},
		} {
			for range 2 { // the second call shows that the first did no harm
				status, got := s.call(t, tc.function, tc.kind, tc.body)
				calls++
				if tc.status >= 400 {
					failures++
				}
				if status != tc.status || !same(tc.status, tc.kind, got, tc.want) {
					t.Errorf("%s %.40q: got %d %.200q, want %d %.200q", tc.function, tc.body, status, got, tc.status, tc.want)
				}
			}
		}
		s.checkMetrics(t, calls, failures)
		s.checkLog(t, map[string]float64{"request-echo": 200, "request-fail": 500})
	})
}

// A CloudEvent in binary mode is an event like any other, and an answer that has
// the attributes of one is one, in structured mode.
func TestCloudEvents(t *testing.T) {
	const structured = "application/cloudevents+json"
	eachRuntime(t, func(t *testing.T, r Runtime) {
		s := start(t, r, sources[r.Name], "run", patient)
		req, err := http.NewRequest(http.MethodPost, s.url, strings.NewReader("paid"))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/shop", "ce-type": "cloud", "content-type": "text/plain",
		} {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		want := `{"specversion":"1.0","id":"7","source":"/shop","type":"made","data":"paid"}`
		if err != nil || resp.Header.Get("Content-Type") != structured || !same(resp.StatusCode, "", string(body), want) {
			t.Errorf("got %s, %s: %s, %v", resp.Status, resp.Header.Get("Content-Type"), body, err)
		}
		if status, got := s.call(t, "echo", structured, want); !same(status, "", got, want) {
			t.Errorf("one in structured mode comes as %d %s", status, got)
		}
		if status, got := s.call(t, "echo", structured, "{"); status != 400 {
			t.Errorf("one that is not JSON: %d %s", status, got)
		}
	})
}

// same compares answers: as JSON where they are such, to the letter otherwise;
// a failure need only say what it must.
func same(status int, kind, got, want string) bool {
	if status != http.StatusOK {
		return strings.Contains(got, want)
	}
	var a, b any
	if json.Unmarshal([]byte(got), &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		return got == want
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

func (s server) checkMetrics(t *testing.T, calls, failures int) {
	t.Helper()
	text := s.get(t, "/metrics")
	for name, want := range map[string]int{"function_calls_total": calls, "function_failures_total": failures, "function_duration_seconds_count": calls} {
		data, _ := json.Marshal(want)
		if line := name + `{method="POST"} ` + string(data) + "\n"; !strings.Contains(text, line) {
			t.Errorf("no line %q in:\n%s", line, text)
		}
	}
	if !strings.Contains(text, `function_duration_seconds_sum{method="POST"} `) {
		t.Errorf("no duration in:\n%s", text)
	}
}

// A caller cannot make a server keep a count for each method that it invents.
func TestInventedMethods(t *testing.T) {
	for _, name := range []string{"java", "php"} { // the others refuse them, or count with Go
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := Get(name)
			if err != nil {
				t.Fatal(err)
			}
			s := start(t, r, sources[name], "run", patient)
			req, err := http.NewRequest("INVENTED", s.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if text := s.get(t, "/metrics"); strings.Contains(text, "INVENTED") || !strings.Contains(text, `function_calls_total{method="OTHER"} 1`) {
				t.Errorf("after a call with an invented method:\n%s", text)
			}
		})
	}
}

// checkLog waits for the lines of calls, by their ids, with these statuses: what a
// server has written before it answers may be read after the answer.
func (s server) checkLog(t *testing.T, want map[string]float64) {
	t.Helper()
	for range 1500 {
		if s.findLines(t, want); len(want) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("the log has no lines of %v", want)
}

// findLines takes the calls that the log has a line of out of want.
func (s server) findLines(t *testing.T, want map[string]float64) {
	t.Helper()
	for text := range strings.Lines(s.log.String()) {
		var line struct {
			Method, Path, ID, Error string
			Status, Seconds         float64
		}
		if json.Unmarshal([]byte(text), &line) != nil || line.Status == 0 || line.Status != want[line.ID] {
			continue
		}
		if line.Method != "POST" || line.Path != "/" || (line.Error == "") != (line.Status < 400) {
			t.Errorf("the log says %s", text)
		}
		delete(want, line.ID)
	}
}

// Four calls wait for each other.
func TestCallsRunAtTheSameTime(t *testing.T) {
	eachRuntime(t, func(t *testing.T, r Runtime) {
		s := start(t, r, sources[r.Name], "run", patient)
		if r.Name == "wasm" {
			s.passesLoops(t) // modules have no way to find each other
			return
		}
		dir := t.TempDir()
		var all sync.WaitGroup
		for id := range 4 {
			all.Go(func() {
				if status, got := s.callAs(t, fmt.Sprint(id), "meet", "text/plain", dir); status != 200 || got != "met" {
					t.Errorf("got %d %q", status, got)
				}
			})
		}
		all.Wait()
	})
}

// passesLoops makes a call that is answered while others never end.
func (s server) passesLoops(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for range 3 {
		all.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, nil)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("event-type", "loop")
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
				t.Errorf("a call that never ends was answered with %s", resp.Status)
			}
		})
	}
	for strings.Count(s.log.String(), "it loops") < 3 {
		time.Sleep(10 * time.Millisecond)
	}
	if status, got := s.call(t, "echo", "text/plain", "passed"); status != 200 || got != "passed" {
		t.Errorf("got %d %q", status, got)
	}
}

// A module has the memory that its function's limit leaves, and no files. The
// control is a module with a larger limit.
func TestModulesAreConfined(t *testing.T) {
	r, err := Get("wasm")
	if err != nil {
		t.Fatal(err)
	}
	for limit, status := range map[string]int{"128Mi": 500, "2Gi": 200} {
		s := startWith(t, r, sources[r.Name], "run", patient, "FUNC_MEMORY_LIMIT="+limit)
		if got, said := s.call(t, "grow", "text/plain", ""); got != status {
			t.Errorf("200 MiB with a limit of %s: %d %.300s", limit, got, said)
		}
		if got, said := s.call(t, "file", "text/plain", ""); got != 200 || said == "" {
			t.Errorf("the folder / can be read: %d %q", got, said)
		}
		if got, said := s.call(t, "echo", "text/plain", "x"); got != 200 || said != "x" {
			t.Errorf("the next call: %d %q", got, said)
		}
	}
}

// What a server needs of other modules is what this module has.
func TestSumsAreCurrent(t *testing.T) {
	sums, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	r, _ := Get("wasm")
	files, err := r.Files()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(files["go.sum"])) {
		name, version, _ := strings.Cut(line, " ")
		version, _, _ = strings.Cut(strings.Fields(version)[0], "/")
		if !strings.Contains(string(sums), line) || !strings.Contains(string(mod), name+" "+version) {
			t.Errorf("wasm/modules.sum has %s, which is not what go.mod and go.sum have", strings.TrimSpace(line))
		}
	}
}

// One that runs past its time is stopped, and later ones run.
func TestCallsRunOutOfTime(t *testing.T) {
	eachRuntime(t, func(t *testing.T, r Runtime) {
		s := start(t, r, sources[r.Name], "run", hasty)
		for _, tc := range []struct {
			function, want string
			status         int
		}{{"loop", "within 2 seconds", 408}, {"loop", "within 2 seconds", 408}, {"echo", "x", 200}} {
			if status, got := s.call(t, tc.function, "text/plain", "x"); status != tc.status || !strings.Contains(got, tc.want) {
				t.Errorf("%s: got %d %q, want %d %q", tc.function, status, got, tc.status, tc.want)
			}
		}
		s.checkLog(t, map[string]float64{"request-loop": 408})
	})
}

// Whoever deploys a function learns from its health that it cannot be loaded,
// and whoever calls it from its answer.
func TestWhatCannotBeLoadedIsExplained(t *testing.T) {
	eachRuntime(t, func(t *testing.T, r Runtime) {
		for _, tc := range []struct{ title, source, handler, says string }{
			{"missing handler", sources[r.Name], "absent", "test" + r.Extension + " has no function absent"},
			{"broken source", broken[r.Name].source, "run", broken[r.Name].says},
			{"wrong signature", sources[r.Name], "three", signatures[r.Name]},
		} {
			if r.Build != nil && r.Build.Whole { // it is said before anything runs
				folder := t.TempDir()
				if err := os.WriteFile(filepath.Join(folder, "test"+r.Extension), []byte(tc.source), 0o600); err != nil {
					t.Fatal(err)
				}
				if tc.title == "missing handler" {
					tc.says = "undefined: function.Absent"
				}
				if _, out, err := compiled(t, r, folder, tc.handler); err == nil || !strings.Contains(out, tc.says) {
					t.Errorf("%s: %v, %q, want %q", tc.title, err, out, tc.says)
				}
				continue
			}
			s := start(t, r, tc.source, tc.handler, patient)
			if status, got := s.call(t, "echo", "text/plain", "x"); status != 500 || !strings.Contains(got, tc.says) {
				t.Errorf("%s: got %d %q, want %q", tc.title, status, got, tc.says)
			}
			if tc.title == "missing handler" {
				if got := s.get(t, "/healthz"); !strings.HasPrefix(got, "problem: "+tc.says) {
					t.Errorf("%s: its health is %q", tc.title, got)
				}
			}
		}
	})
}

// A process makes calls as long as it can; what ends it between two of them, or
// with one, harms no other.
func TestProcessesAreUsedAgain(t *testing.T) {
	for name, source := range map[string]string{
		"python3": `
import os, threading
def run(event, context):
    if event["data"] == "leave": os._exit(3)
    if event["data"] == "exit": raise SystemExit
    if event["data"] == "later": threading.Timer(0.02, os._exit, [3]).start()
    return str(os.getpid())
`,
		"nodejs": `
const { threadId } = require('worker_threads');
module.exports = { run: (event) => {
  if (event.data === 'leave' || event.data === 'exit') process.exit(3);
  if (event.data === 'later') setTimeout(() => process.exit(3), 20);
  return String(threadId);
} };
`,
		"ruby": `
def run(event, _context)
  case event[:data]
  when 'leave' then exit!(3)
  when 'exit' then exit
  when 'later' then Thread.new { sleep(0.02); exit!(3) }
  end
  Process.pid.to_s
end
`,
		"php": `<?php
function run($event) {
    switch ($event->data) {
    case 'leave': posix_kill(getmypid(), SIGKILL);
    case 'exit': exit;
    case 'later': pcntl_alarm(1);
    }
    return (string) getmypid();
}
`,
		"go": `
package kubeless

import (
	"fmt"
	"os"
	"time"

	"github.com/kubeless/kubeless/pkg/functions"
)

func Run(event functions.Event, context functions.Context) (string, error) {
	switch event.Data {
	case "leave":
		os.Exit(3)
	case "exit":
		go panic("elsewhere")
		select {}
	case "later":
		time.AfterFunc(20*time.Millisecond, func() { os.Exit(3) })
	}
	return fmt.Sprint(os.Getpid()), nil
}
`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := Get(name)
			if err != nil {
				t.Fatal(err)
			}
			rounds := 20
			switch name {
			case "php":
				rounds = 2 // of a second, its shortest alarm
			case "go", "nodejs":
				rounds = 5 // of a second, its pause
			}
			usesProcessesAgain(t, start(t, r, source, "run", patient), rounds)
		})
	}
}

func usesProcessesAgain(t *testing.T, s server, rounds int) {
	t.Helper()
	call := func(data string) (status int, process string) { return s.call(t, "run", "text/plain", data) }
	_, first := call("")
	if _, next := call(""); next != first {
		t.Errorf("the second call had process %s, the first %s", next, first)
	}
	for _, data := range []string{"leave", "exit"} {
		if status, got := call(data); status != 500 {
			t.Errorf("%s: %d %s", data, status, got)
		}
		status, next := call("")
		if status != 200 || next == first {
			t.Errorf("after %s: %d, process %s as before", data, status, next)
		}
		first = next
	}
	for range rounds {
		call("later")
		first = endsLater(t, s, first)
	}
}

// endsLater calls a function whose process is about to end until another answers.
// It may end at any time of a call. The connection of one that it answers then is
// closed; all others have an answer.
func endsLater(t *testing.T, s server, first string) string {
	t.Helper()
	closed := 0
	for began := time.Now(); time.Since(began) < time.Minute; {
		status, next, err := s.tryAs("id-1", "run", "text/plain", "")
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET):
			if closed++; closed > 1 {
				t.Fatalf("a second call had no answer: %v", err)
			}
		case err != nil:
			t.Fatal(err)
		case status == 200 && next != first:
			return next
		}
	}
	t.Fatal("a process that has ended is still used")
	return ""
}

// The talk's function was written for Python 2.
func TestPython2SourceIsExplained(t *testing.T) {
	r, _ := Get("python3")
	s := start(t, r, "def hello(event, context):\n    print event\n    return event['data']\n", "hello", patient)
	status, got := s.call(t, "hello", "text/plain", "x")
	if status != 500 || !strings.Contains(got, "test.py, line 2") || !strings.Contains(got, "print(event)") {
		t.Errorf("got %d %q", status, got)
	}
}

// Even a module that ends its process is explained.
func TestPythonModuleThatExits(t *testing.T) {
	r, _ := Get("python3")
	s := startWith(t, r, "import os\nos._exit(1)\n", "hello", patient, "FUNC_MEMORY_LIMIT=40Mi")
	if status, got := s.call(t, "hello", "text/plain", "x"); status != 500 || !strings.Contains(got, "test.py ends the process that loads it, or needs more memory than its 40Mi") {
		t.Errorf("got %d %q", status, got)
	}
}

// So is a program in Go.
func TestGoProgramThatExits(t *testing.T) {
	r, _ := Get("go")
	s := start(t, r, "package kubeless\n\nimport (\n\t\"os\"\n\n\t\"github.com/kubeless/kubeless/pkg/functions\"\n)\n\nfunc init() { os.Exit(1) }\n\nfunc Run(functions.Event, functions.Context) (string, error) { return \"\", nil }\n", "run", patient)
	if status, got := s.call(t, "run", "text/plain", "x"); status != 500 || !strings.Contains(got, "exited before it served") {
		t.Errorf("got %d %q", status, got)
	}
}

// A program may serve HTTP itself; one that ends or hangs is started anew.
func TestAProgramThatServes(t *testing.T) {
	const program = `#!/usr/bin/python3
import http.server, os, time
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        kind = self.headers["event-type"]
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        if kind == "leave": os._exit(3)
        if kind == "loop": time.sleep(30)
        self.send_response(201)
        self.send_header("X-Made-By", "program")
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
`
	r, _ := Get("binary")
	s := start(t, r, program, "http", hasty)
	for _, tc := range []struct {
		function string
		status   int
		want     string
	}{
		{"echo", 201, "hello"}, {"leave", 500, "without an answer"}, {"echo", 201, "hello"}, {"loop", 408, "within 2 seconds"}, {"echo", 201, "hello"},
	} {
		if status, got := s.call(t, tc.function, "text/plain", "hello"); status != tc.status || !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %d %q, want %d %q", tc.function, status, got, tc.status, tc.want)
		}
	}
}

// A language runs commands with /bin/sh, which no other package brings.
func TestLanguagesHaveAShell(t *testing.T) {
	for _, name := range Names() {
		if r, err := Get(name); err != nil || len(r.Packages) > 0 && !slices.Contains(r.Packages, "dash") {
			t.Errorf("%s has the packages %v: %v", name, r.Packages, err)
		}
	}
}

func TestUnknownRuntimeIsNamed(t *testing.T) {
	if _, err := Get("cobol"); err == nil || !strings.Contains(err.Error(), "python3") {
		t.Errorf("got %v", err)
	}
}
