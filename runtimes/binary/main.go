// Command binary runs one program behind HTTP, as the function of its runtime.
//
// The handler is FILE.stdio, where the program is started for every call, reads
// the body from its standard input and answers on its standard output; or
// FILE.http, where it is started once, serves HTTP on $PORT, and is passed the
// requests. A program that the command line names is of the second kind, whatever
// the handler.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxAnswer = 64 << 20
	// maxDiscard is how much of a body that is too large is read all the same,
	// because who still sends does not hear the answer.
	maxDiscard = 256 << 20
	plainText  = "text/plain; charset=utf-8"
)

// problem is an answer that is not the function's: a status and a sentence.
type problem struct {
	status  int
	message string
}

func (p *problem) Error() string { return p.message }

func problemf(status int, format string, args ...any) *problem {
	return &problem{status, fmt.Sprintf(format, args...)}
}

// answer is what a call ends with.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func text(status int, body string) answer {
	return answer{status, http.Header{"Content-Type": {plainText}}, []byte(body)}
}

// caller runs one call of the function; ctx ends with its time.
type caller interface {
	call(ctx context.Context, r *http.Request, body []byte) (answer, error)
}

// function is the program and how it is called.
type function struct {
	file    string
	caller  caller
	broken  *problem
	timeout time.Duration
	maxBody int64
	counts  counters
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func number(name string, otherwise int) int {
	n, err := strconv.Atoi(setting(name, strconv.Itoa(otherwise)))
	if err != nil {
		return otherwise
	}
	return n
}

func newFunction() *function {
	f := &function{
		file:    filepath.Join(setting("FUNC_FOLDER", "/kubeless"), setting("MOD_NAME", "")),
		timeout: time.Duration(number("FUNC_TIMEOUT", 180)) * time.Second,
		maxBody: int64(number("REQ_MB_LIMIT", 16)) << 20,
	}
	way := setting("FUNC_HANDLER", "")
	if len(os.Args) > 1 {
		f.file, way = os.Args[1], "http"
	}
	name := filepath.Base(f.file)
	info, err := os.Stat(f.file)
	switch {
	case err != nil:
		f.broken = problemf(500, "the function's source %s is missing; name its file in the handler, as in FILE.stdio", name)
	case info.Mode()&0o111 == 0:
		f.broken = problemf(500, "%s cannot be loaded: it is not executable", name)
	case way == "stdio":
		f.caller, f.broken = newStdio(f.file)
	case way == "http":
		f.caller, f.broken = newServing(f.file)
	default:
		f.broken = problemf(500, "%s has no function %s; a program is called as FILE.stdio or FILE.http", name, way)
	}
	if f.broken != nil {
		fmt.Fprintln(os.Stderr, f.broken.message)
	}
	return f
}

func (f *function) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		// A function that cannot run still answers its callers, with the
		// reason: it is healthy, and whoever deploys it is told.
		say := "OK"
		if f.broken != nil {
			say = "problem: " + f.broken.message
		}
		send(w, text(http.StatusOK, say))
		return
	case "/metrics":
		send(w, text(http.StatusOK, f.counts.text()))
		return
	}
	started := time.Now()
	a, err := f.run(r)
	if err != nil {
		a = text(http.StatusInternalServerError, err.Error()+"\n")
		var p *problem
		if errors.As(err, &p) {
			a.status = p.status
		}
	}
	seconds := time.Since(started)
	f.counts.record(r.Method, seconds, a.status >= 400)
	record(r, a, seconds)
	send(w, a)
}

func (f *function) run(r *http.Request) (answer, error) {
	if f.broken != nil {
		return answer{}, f.broken
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, f.maxBody+1))
	if err != nil {
		return answer{}, problemf(400, "the request cannot be read: %v", err)
	}
	if int64(len(body)) > f.maxBody {
		_, _ = io.CopyN(io.Discard, r.Body, maxDiscard)
		return answer{}, problemf(413, "the body is larger than %d MiB", f.maxBody>>20)
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if (kind == "application/json" || kind == structured) && len(body) > 0 && !json.Valid(body) {
		return answer{}, problemf(400, "the body is not the JSON that its content type says")
	}
	ctx, cancel := context.WithTimeout(r.Context(), f.timeout)
	defer cancel()
	a, err := f.caller.call(ctx, r, body)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return answer{}, problemf(408, "the function did not answer within %g seconds and was stopped", f.timeout.Seconds())
	case err != nil:
		return answer{}, err
	case len(a.body) > maxAnswer:
		return answer{}, problemf(500, "the function's answer is larger than %d MiB", maxAnswer>>20)
	}
	return a, nil
}

func send(w http.ResponseWriter, a answer) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a caller that has gone has no use for the rest
}

// record writes the call's line into the log.
func record(r *http.Request, a answer, took time.Duration) {
	line := map[string]any{
		"method": r.Method, "path": r.URL.RequestURI(), "status": a.status,
		"seconds": took.Seconds(), "id": r.Header.Get("X-Request-Id"),
	}
	if a.status >= 400 {
		line["error"] = strings.ToValidUTF8(strings.TrimSpace(string(a.body[:min(len(a.body), 1000)])), "?")
	}
	_ = json.NewEncoder(os.Stdout).Encode(line)
}

func main() {
	// Whatever ends this server ends the program that it started.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	server := &http.Server{Addr: ":" + setting("FUNC_PORT", "8080"), Handler: newFunction(), ReadHeaderTimeout: time.Minute}
	go func() {
		<-stop
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
