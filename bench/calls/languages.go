package calls

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/function/local"
)

//go:embed bare
var bares embed.FS

// language is one with its smallest function and its smallest server: a file of
// bare, and the command that runs it, in which FILE and PORT stand for it and its
// port. One in Go is compiled first. PHP's own server closes each connection,
// which is in what its calls take together, not in their median.
type language struct {
	runtime, handler, source, file, command string
}

var languages = []language{
	{"python3", "app.greet", "def greet(event, context):\n    return 'hello'\n", "server.py", "/usr/bin/python3 -u FILE PORT"},
	{"nodejs", "app.greet", "module.exports = {greet: (event, context) => 'hello'};\n", "server.js", "/usr/bin/node FILE PORT"},
	{"ruby", "app.greet", "def greet(event, context) = 'hello'\n", "server.rb", "/usr/bin/ruby FILE PORT"},
	{"php", "app.greet", "<?php\nfunction greet($event, $context) { return 'hello'; }\n", "server.php", "/usr/bin/php -n -S 127.0.0.1:PORT FILE"},
	{"java", "app.greet", "public class app { public String greet(io.kubeless.Event event, io.kubeless.Context context) { return \"hello\"; } }\n",
		"Server.java", "/usr/bin/java -Dsun.net.httpserver.nodelay=true FILE PORT"},
	{"go", "app.Greet", "package app\n\nimport \"github.com/kubeless/kubeless/pkg/functions\"\n\nfunc Greet(event functions.Event, context functions.Context) (string, error) { return \"hello\", nil }\n",
		"server.go", "FILE PORT"},
}

// bare runs the smallest server.
func (l language) bare(ctx context.Context, dir string, port int32) error {
	data, err := bares.ReadFile("bare/" + l.file)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, l.file)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	if filepath.Ext(file) == ".go" {
		program := filepath.Join(dir, "bare")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, file).CombinedOutput(); err != nil {
			return fmt.Errorf("compile %s: %w: %s", l.file, err, out)
		}
		file = program
	}
	args := strings.Fields(strings.NewReplacer("FILE", file, "PORT", fmt.Sprint(port)).Replace(l.command))
	return exec.CommandContext(ctx, args[0], args[1:]...).Run()
}

// function runs the runtime's server. What it writes is for nobody.
func (l language) function(ctx context.Context, _ string, port int32) error {
	fn := &kubeless.Function{}
	fn.Name, fn.Spec.Runtime, fn.Spec.Handler, fn.Spec.Function = "calls", l.runtime, l.handler, l.source
	fn.Spec.Service.Ports = []corev1.ServicePort{{Port: port}}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(local.Run(ctx, fn, local.Options{Output: null, Progress: func(string) {}}), null.Close())
}
