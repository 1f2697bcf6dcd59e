package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/runtimes"
	"redoubt.dev/redoubt/test/platform"
)

// functionSources are the same function in each language, which greets, and one
// that greets otherwise.
var functionSources = map[string]struct{ first, second string }{
	"python3": {
		"def greet(event, context):\n    print('called with', event['data'])\n    return 'Hello ' + event['data']\n",
		"def greet(event, context):\n    return 'Bye ' + event['data']\n",
	},
	"nodejs": {
		"module.exports = { greet: (event) => { console.log('called with', event.data); return 'Hello ' + event.data; } };\n",
		"module.exports = { greet: (event) => 'Bye ' + event.data };\n",
	},
	"ruby": {
		"def greet(event, context)\n  puts \"called with #{event[:data]}\"\n  \"Hello #{event[:data]}\"\nend\n",
		"def greet(event, context) = \"Bye #{event[:data]}\"\n",
	},
	"php": {
		"<?php\nfunction greet($event, $context) { echo 'called with ', $event->data, PHP_EOL; return 'Hello ' . $event->data; }\n",
		"<?php\nfunction greet($event, $context) { return 'Bye ' . $event->data; }\n",
	},
	"java": {
		"public class app { public String greet(io.kubeless.Event event, io.kubeless.Context context) { System.out.println(\"called with \" + event.Data); return \"Hello \" + event.Data; } }\n",
		"public class app { public String greet(io.kubeless.Event event, io.kubeless.Context context) { return \"Bye \" + event.Data; } }\n",
	},
	"go": {fmt.Sprintf(inGo, "Hello "), fmt.Sprintf(inGo, "Bye ")},
	"binary": {
		"#!/bin/sh\nread -r name; echo called with \"$name\" >&2; echo Hello \"$name\"\n",
		"#!/bin/bash\nread -r name; echo Bye \"$name\"\n",
	},
	"wasm": {greeter("Hello "), greeter("Bye ")},
}

// inGo is a function that says what it greets with.
const inGo = `package kubeless

import (
	"fmt"

	"github.com/kubeless/kubeless/pkg/functions"
)

func Greet(event functions.Event, context functions.Context) (string, error) {
	fmt.Println("called with", event.Data)
	return %q + event.Data, nil
}
`

// handler is how the function of a source is called.
func handler(runtime string) string {
	switch runtime {
	case "binary", "wasm":
		return "app.stdio"
	case "go":
		return "app.Greet"
	}
	return "app.greet"
}

func source(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// function runs a function command that must succeed.
func function(t *testing.T, ns string, args ...string) string {
	t.Helper()
	return shared.Redoubt(t, append([]string{"function", "-n", ns}, args...)...)
}

func TestFunction(t *testing.T) {
	for _, runtime := range runtimes.Names() {
		t.Run(runtime, func(t *testing.T) {
			ns := namespace(t)
			sources := functionSources[runtime]
			out := function(t, ns, "deploy", "hi", "--runtime="+runtime, "--handler="+handler(runtime), "--from-file="+source(t, sources.first), "--runtime-class=runc")
			if !strings.Contains(out, "Function 'hi' deployed") {
				t.Errorf("deploy printed %q", out)
			}
			if out := function(t, ns, "call", "hi", "-d", "world"); strings.TrimSpace(out) != "Hello world" {
				t.Errorf("the function answered %q", out)
			}
			if out := function(t, ns, "logs", "hi"); !all(out, "called with world", `"status"`) {
				t.Errorf("the logs are %q", out)
			}
			if out := function(t, ns, "list"); !all(out, "hi", handler(runtime), runtime, "READY") {
				t.Errorf("the list is %q", out)
			}
			if out := function(t, ns, "list", "-o", "name"); out != "function.kubeless.io/hi\n" {
				t.Errorf("the names are %q", out)
			}
			if out := function(t, ns, "describe", "hi"); !all(out, "hi", handler(runtime), runtime, "runc", "URL:") {
				t.Errorf("the description is %q", out)
			}
			function(t, ns, "update", "hi", "--from-file="+source(t, sources.second))
			if out := function(t, ns, "call", "hi", "-d", "world"); strings.TrimSpace(out) != "Bye world" {
				t.Errorf("the changed function answered %q", out)
			}
			function(t, ns, "delete", "hi")
			if _, err := shared.Try(t, "", "function", "-n", ns, "call", "hi"); err == nil || !strings.Contains(err.Error(), "there is no function 'hi'") {
				t.Errorf("a deleted function: %v", err)
			}
		})
	}
}

func TestFunctionRefuses(t *testing.T) {
	ns := namespace(t)
	good := source(t, functionSources["python3"].first)
	empty := source(t, "")
	for title, test := range map[string]struct {
		args []string
		says []string
	}{
		"a handler without a dot": {[]string{"--runtime=python3", "--handler=greet", "--from-file=" + good}, []string{"--handler", "FILE.FUNCTION"}},
		"a missing file":          {[]string{"--runtime=python3", "--handler=app.greet", "--from-file=/no/such/file"}, []string{"--from-file", "/no/such/file"}},
		"an empty file":           {[]string{"--runtime=python3", "--handler=app.greet", "--from-file=" + empty}, []string{"--from-file", "is empty"}},
		"an unknown runtime":      {[]string{"--runtime=cobol", "--handler=app.greet", "--from-file=" + good}, []string{"cobol", "binary, go, java, nodejs, php, python3, ruby"}},
		"an unknown class":        {[]string{"--runtime=python3", "--handler=app.greet", "--from-file=" + good, "--runtime-class=weak"}, []string{"--runtime-class", "weak", "runc"}},
		"a missing flag":          {[]string{"--runtime=python3", "--from-file=" + good}, []string{"--handler"}},
	} {
		_, err := shared.Try(t, "", append([]string{"function", "-n", ns, "deploy", "bad"}, test.args...)...)
		if err == nil || !all(err.Error(), test.says...) {
			t.Errorf("%s: %v, want %q", title, err, test.says)
		}
	}
	if out := function(t, ns, "list", "-o", "name"); out != "" {
		t.Errorf("a function was made: %q", out)
	}
}

// A function may be a folder, and go back to an earlier version of itself.
func TestFunctionFolderAndRollback(t *testing.T) {
	ns, dir := namespace(t), t.TempDir()
	write := func(name, text string) {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	answers := func(want string) {
		t.Helper()
		if out := function(t, ns, "call", "hi", "-d", "x"); strings.TrimSpace(out) != want {
			t.Errorf("the function answered %q, want %q", out, want)
		}
	}
	write("app.py", "from lib.words import word\ndef greet(event, context):\n    return word\n")
	write("lib/words.py", "word = 'first'\n")
	function(t, ns, "deploy", "hi", "--runtime=python3", "--handler=app.greet", "--from-file="+dir)
	answers("first")
	write("lib/words.py", "word = 'second'\n")
	function(t, ns, "update", "hi", "--from-file="+dir)
	answers("second")
	if out := function(t, ns, "rollback", "hi"); !strings.Contains(out, "rolled back to version 1 (hi-00001)") {
		t.Errorf("rollback printed %q", out)
	}
	answers("first")
	if out := function(t, ns, "describe", "hi"); !strings.Contains(out, "to version 1 (hi-00001)") {
		t.Errorf("the description is %q", out)
	}
	if _, err := shared.Try(t, "", "function", "-n", ns, "rollback", "hi", "--to=7"); err == nil || !strings.Contains(err.Error(), "has no version 7; those that there are: 2, 1") {
		t.Errorf("a version that never was: %v", err)
	}
	write("lib/words.py", "word = 'third'\n")
	function(t, ns, "update", "hi", "--from-file="+dir)
	answers("third")
	// A version's source goes with its revision, and no other does.
	shared.Kubectl(t, "-n", ns, "delete", "revision", "hi-00002")
	platform.Eventually(t, "the source goes", func() error {
		sources := strings.Fields(shared.Kubectl(t, "-n", ns, "get", "configmaps", "-l", kubeless.SourceLabel, "-o", "name"))
		if len(sources) != 2 {
			return fmt.Errorf("there are %q", sources)
		}
		return nil
	})
	function(t, ns, "rollback", "hi", "--to=1")
	answers("first")
}

// Whoever deploys a source that cannot be loaded is told the line. What each
// runtime says is the runtimes' own test.
func TestFunctionThatCannotLoad(t *testing.T) {
	ns := namespace(t)
	for name, test := range map[string]struct{ text, handler, says string }{
		"broken": {"def greet(event, context):\n    return 'Hello\n", "app.greet", "app.py, line 2"},
		"absent": {functionSources["python3"].first, "app.wave", "has no function wave"},
	} {
		_, err := shared.Try(t, "", "function", "-n", ns, "deploy", name, "--runtime=python3", "--handler="+test.handler, "--from-file="+source(t, test.text))
		if err == nil || !all(err.Error(), "is deployed, but cannot answer", test.says) {
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
	}
}

// A Function that kubectl applied says what the node lacks, and runs once it
// is there.
func TestFunctionWithoutItsImage(t *testing.T) {
	const image = "localhost/redoubt/nodejs:latest"
	ns := namespace(t)
	platform.Eventually(t, "image removed", func() error { // pods of earlier tests may be ending
		_, err := shared.Try(t, "", "image", "rm", image)
		if err != nil && strings.Contains(err.Error(), "no such image") {
			return nil
		}
		return err
	})
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": "kubeless.io/v1beta1", "kind": "Function", "metadata": metav1.ObjectMeta{Name: "hi", Namespace: ns},
		"spec": map[string]any{"runtime": "nodejs", "handler": "app.greet", "function": functionSources["nodejs"].first, "runtimeClassName": "runc"},
	})
	if err != nil {
		t.Fatal(err)
	}
	shared.Apply(t, string(manifest))
	wait := func(says string) {
		platform.Eventually(t, says, func() error {
			if out := function(t, ns, "describe", "hi", "-o", "json"); !strings.Contains(out, says) {
				return errors.New(out)
			}
			return nil
		})
	}
	wait("redoubt function prepare nodejs")
	shared.Redoubt(t, "function", "prepare", "nodejs")
	wait(`"status": "True"`)
	if out := function(t, ns, "call", "hi", "-d", "world"); strings.TrimSpace(out) != "Hello world" {
		t.Errorf("the function answered %q", out)
	}
}

// What a function is called for is shown, and how it is scaled can be said in
// Kubeless's words.
func TestFunctionTopAndAutoscale(t *testing.T) {
	ns := namespace(t)
	function(t, ns, "deploy", "hello", "--runtime=python3", "--handler=app.greet", "--from-file="+source(t, functionSources["python3"].first), "--runtime-class=runc")
	function(t, ns, "call", "hello", "-d", "you")
	if out := function(t, ns, "top"); !all(out, "hello", ns, "POST") {
		t.Errorf("top says %q", out)
	}
	autoscale := func(args ...string) string {
		return shared.Redoubt(t, append([]string{"autoscale", "-n", ns}, args...)...)
	}
	autoscale("create", "hello", "--min=1", "--max=3", "--metric=qps", "--value=50")
	if out := autoscale("list"); !all(out, "hello", "1", "3", "qps", "50") {
		t.Errorf("the list is %q", out)
	}
	if out := shared.Redoubt(t, "revision", "-n", ns, "list", "-o", "json"); !all(out, `"autoscaling.knative.dev/max-scale": "3"`, `"autoscaling.knative.dev/metric": "rps"`) {
		t.Errorf("no revision is scaled as told: %s", out)
	}
	if _, err := shared.Try(t, "", "autoscale", "-n", ns, "update", "hello", "--max=0", "--min=-1"); err == nil || !strings.Contains(err.Error(), "min-scale") {
		t.Errorf("a scale that cannot be: %v", err)
	}
	autoscale("delete", "hello")
	if out := autoscale("list"); strings.Contains(out, "hello") {
		t.Errorf("the list is %q after deletion", out)
	}
}

// What a function's source does to signals does not keep its pod until the
// time of a call is over; and it can check whom it talks to.
func TestFunctionEndsAtOnceAndTrusts(t *testing.T) {
	const text = `
import signal, ssl
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def greet(event, context):
    return len(ssl.create_default_context().get_ca_certs()) > 50
`
	ns := namespace(t)
	function(t, ns, "deploy", "hi", "--runtime=python3", "--handler=app.greet", "--from-file="+source(t, text), "--runtime-class=runc", "--timeout=600")
	if out := function(t, ns, "call", "hi", "-d", "x"); out != "true" {
		t.Errorf("the function knows enough authorities: %q", out)
	}
	function(t, ns, "delete", "hi")
	platform.Eventually(t, "its pod is gone", func() error {
		if out := shared.Kubectl(t, "-n", ns, "get", "pods", "-o", "name"); out != "" {
			return errors.New(out)
		}
		return nil
	})
}

// What programs leave behind when they end is waited for, whatever the language.
func TestFunctionLeavesNoZombies(t *testing.T) {
	const leaves = "(i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done) >/dev/null 2>&1 &"
	for runtime, text := range map[string]string{
		"nodejs": `
const { execSync } = require('child_process'), fs = require('fs');
const zombies = () => fs.readdirSync('/proc').filter((p) => /^\d+$/.test(p) && /\) Z /.test(fs.readFileSync('/proc/' + p + '/stat'))).length;
module.exports = { greet: async () => {
  for (let i = 0; i < 5; i++) execSync(%q);
  await new Promise((resolve) => setTimeout(resolve, 2000));
  return zombies();
} };
`,
		"python3": `
import glob, subprocess, time
def greet(event, context):
    for _ in range(5):
        subprocess.run(%q, shell=True)
    time.sleep(2)
    return sum(") Z " in open(stat).read() for stat in glob.glob("/proc/[0-9]*/stat"))
`,
		"ruby": `
def greet(event, context)
  5.times { system(%q) }
  sleep 2
  Dir.glob('/proc/[0-9]*/stat').count { |stat| File.read(stat).include?(') Z ') }
end
`,
	} {
		t.Run(runtime, func(t *testing.T) {
			ns := namespace(t)
			function(t, ns, "deploy", "hi", "--runtime="+runtime, "--handler=app.greet", "--from-file="+source(t, fmt.Sprintf(text, leaves)), "--runtime-class=runc")
			if out := function(t, ns, "call", "hi"); out != "0" {
				t.Errorf("it counts %q processes that have ended", out)
			}
		})
	}
}

// exported is a Function as Kubeless's command line prints it.
const exported = `
apiVersion: kubeless.io/v1beta1
kind: Function
metadata: {creationTimestamp: null, name: get-python, namespace: %s, labels: {created-by: kubeless, function: get-python}, finalizers: [kubeless.io/function]}
spec:
  checksum: ""
  deployment:
    metadata: {creationTimestamp: null}
    spec:
      selector: null
      strategy: {}
      template: {metadata: {creationTimestamp: null}, spec: {containers: [{name: "", resources: {}}]}}
    status: {}
  deps: ""
  function: "def foobar(event, context):\n  return event['data']\n"
  function-content-type: text
  handler: test.foobar
  horizontalPodAutoscaler:
    metadata: {creationTimestamp: null}
    spec: {maxReplicas: %d, scaleTargetRef: {kind: "", name: ""}%s}
    status: {conditions: null, currentMetrics: null, currentReplicas: 0, desiredReplicas: 0}
  runtime: %s
  service:
    ports: [{name: http-function-port, port: 8080, protocol: TCP, targetPort: 8080}]
    selector: {created-by: kubeless, function: get-python}
    type: ClusterIP
  timeout: "180"
`

func TestFunctionAsKubelessPrintsIt(t *testing.T) {
	ns := namespace(t)
	for metric, why := range map[string]string{
		"type: Pods, pods: {metricName: hits, targetAverageValue: 5}":                    "redoubt autoscale create",
		"type: Resource, resource: {name: memory, targetAverageUtilization: 80}":         "memory needs a targetAverageValue",
		"type: Resource, resource: {name: disk}":                                         "use cpu or memory",
		"type: Object, object: {metricName: function_calls, targetValue: 0}":             "must be from 10m",
		"type: Object, object: {metricName: hits, targetValue: 5}":                       "use function_calls",
		"type: Object, resource: {name: cpu}":                                            "type Object needs object",
		"type: Resource, resource: {name: memory, targetAverageValue: 1000}":             "must be from 1Mi",
		"type: Resource, resource: {name: cpu}}, {type: Resource, resource: {name: cpu}": "must have at most 1 item",
	} {
		shared.Refuse(t, fmt.Sprintf(exported, ns, 3, ", metrics: [{"+metric+"}]", "python3"), why)
	}
	shared.Refuse(t, fmt.Sprintf(exported, ns, 0, "", "python3.7"), "is not a runtime that is here")
	shared.Apply(t, fmt.Sprintf(exported, ns, 3, `, metrics: [{type: Object, object: {metricName: function_calls, target: {kind: Service, name: get-python}, targetValue: "50"}}]`, "python3"))
	platform.Eventually(t, "its revision is scaled", func() error {
		out := shared.Redoubt(t, "revision", "-n", ns, "list", "-o", "json")
		if !all(out, `"autoscaling.knative.dev/max-scale": "3"`, `"autoscaling.knative.dev/metric": "rps"`, `"autoscaling.knative.dev/target": "50"`) {
			return errors.New(out)
		}
		return nil
	})
	if out := shared.Redoubt(t, "autoscale", "-n", ns, "list"); !regexp.MustCompile(`get-python +0 +3 +qps +50`).MatchString(out) {
		t.Errorf("the scales are %q", out)
	}
	shared.Redoubt(t, "autoscale", "-n", ns, "delete", "get-python", "--no-wait")
	if out := shared.Redoubt(t, "autoscale", "-n", ns, "list"); strings.Contains(out, "get-python") {
		t.Errorf("the scales are %q", out)
	}
	function(t, ns, "delete", "get-python")
	platform.Eventually(t, "Kubeless's finalizer does not keep it", func() error {
		if out := function(t, ns, "list", "-o", "name"); out != "" {
			return errors.New(out)
		}
		return nil
	})
}
