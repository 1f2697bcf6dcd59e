package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"redoubt.dev/redoubt/internal/instance"
)

// stage is where commands are run and shown.
type stage struct {
	out     io.Writer
	started time.Time
	inst    instance.Instance
	// dir is where the commands run: files are named without their folder.
	dir string
	// path is what $PATH begins with: the folders of redoubt and of kubectl.
	path string
	// programs are the absolute paths of what is run.
	programs map[string]string
}

func newStage(inst instance.Instance, out io.Writer) (stage, error) {
	self, err := os.Executable()
	if err != nil {
		return stage{}, fmt.Errorf("find redoubt itself: %w", err)
	}
	engine, err := instance.EngineDir()
	if err != nil {
		return stage{}, err
	}
	curl, err := exec.LookPath("curl")
	if err != nil {
		return stage{}, errors.New("the program curl is missing; install it with: apt-get install curl")
	}
	return stage{
		out: out, started: time.Now(), inst: inst,
		dir:  inst.Data("demo"),
		path: filepath.Dir(self) + ":" + engine,
		programs: map[string]string{
			"redoubt": self, "kubectl": filepath.Join(engine, "kubectl"), "curl": curl,
		},
	}, nil
}

func (s stage) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func (s stage) title(text string) { s.say("\n%s\n%s\n", text, strings.Repeat("-", len(text))) }

// note is a line of progress, with the time since the start.
func (s stage) note(format string, args ...any) {
	fmt.Fprintf(s.out, "%7.3fs %s\n", time.Since(s.started).Seconds(), fmt.Sprintf(format, args...))
}

// run shows a command, runs it and shows what it prints. It returns that, and
// how long it took.
func (s stage) run(ctx context.Context, program string, args ...string) (string, time.Duration, error) {
	s.say("$ %s", quote(program, args))
	started := time.Now()
	out, err := s.quietly(ctx, program, args...)
	took := time.Since(started)
	if out != "" {
		s.say("%s", out)
	}
	return out, took, err
}

// quietly runs a command without showing it.
func (s stage) quietly(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.programs[program], args...)
	cmd.Args[0] = program
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.inst.Kubeconfig())
	if _, err := os.Stat(s.dir); err == nil {
		cmd.Dir = s.dir
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	out := strings.TrimRight(stdout.String(), "\n")
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", quote(program, args), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// redoubt runs a command of redoubt's on the demo's instance.
func (s stage) redoubt(ctx context.Context, args ...string) (string, time.Duration, error) {
	return s.run(ctx, "redoubt", append(args, strings.Fields(s.flags())...)...)
}

// flags name the instance in a command, as far as needed.
func (s stage) flags() string {
	var flags string
	if s.inst.Name != instance.DefaultName {
		flags += " --name " + s.inst.Name
	}
	if usual, err := instance.New(s.inst.Name, ""); err != nil || usual.DataDir != s.inst.DataDir {
		flags += " --data-dir " + s.inst.DataDir
	}
	return flags
}

// quote writes a command so that a shell reads the same words.
func quote(program string, args []string) string {
	words := []string{program}
	for _, arg := range args {
		if strings.ContainsAny(arg, " !{}*()'\"$") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}
