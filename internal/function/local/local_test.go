package local

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/runtimes"
)

func freePort(t *testing.T) int32 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return int32(l.Addr().(*net.TCPAddr).Port)
}

// A function answers with what its environment and its event say, whether it is
// compiled or not, and its server ends with the context, and leaves no file.
func TestRun(t *testing.T) {
	for runtime, tc := range map[string]struct{ handler, source string }{
		"python3": {"app.greet", "import os\ndef greet(event, context):\n    return os.environ['GREETING'] + ' ' + event['data'] + ' ' + context['timeout']\n"},
		"go": {"app.Greet", `package kubeless

import (
	"os"

	"github.com/kubeless/kubeless/pkg/functions"
)

func Greet(event functions.Event, context functions.Context) (string, error) {
	return os.Getenv("GREETING") + " " + event.Data + " " + context.Timeout, nil
}
`},
		"java": {"app.greet", `
public class app {
    public String greet(io.kubeless.Event event, io.kubeless.Context context) {
        String classes = app.class.getProtectionDomain().getCodeSource().getLocation().getPath();
        if (!classes.startsWith(System.getenv("TMPDIR") + "/")) return "its classes stay in " + classes;
        return System.getenv("GREETING") + " " + event.Data + " " + context.Timeout;
    }
}
`},
	} {
		t.Run(runtime, func(t *testing.T) { answersUntilItEnds(t, runtime, tc.handler, tc.source) })
	}
}

func answersUntilItEnds(t *testing.T, runtime, handler, source string) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	fn := &kubeless.Function{}
	fn.Name = "local"
	fn.Spec.Runtime, fn.Spec.Handler, fn.Spec.Timeout = runtime, handler, "5"
	fn.Spec.Function = source
	fn.Spec.Service.Ports = []corev1.ServicePort{{Port: freePort(t)}}
	fn.Spec.Deployment.Spec.Template.Spec.Containers = []kubeless.Container{{Env: []corev1.EnvVar{{Name: "GREETING", Value: "Hello"}}}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, fn, Options{Output: &out, Progress: func(string) {}}) }()
	url := fmt.Sprintf("http://127.0.0.1:%d", fn.Spec.Service.Ports[0].Port)
	for {
		resp, err := http.Post(url, "text/plain", strings.NewReader("world"))
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(body) != "Hello world 5" {
				t.Errorf("the answer is %q", body)
			}
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("%v: %s", err, out.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("interrupted: %v", err)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("the server goes on")
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v: %v", left, err)
	}
}

func TestMissingPackage(t *testing.T) {
	lang := runtimes.Runtime{Name: "cobol", Packages: []string{"gnucobol"}, Command: []string{"/usr/bin/no-such-cobol"}, Server: "cobol/server.cob"}
	_, err := command(t.Context(), lang, t.TempDir(), nil)
	if err == nil || !strings.Contains(err.Error(), "apt-get install gnucobol") {
		t.Error(err)
	}
}
