// Package contract is what the servers of functions that are written in Go have in
// common: Kubeless's contract over HTTP. Each brings a way to make one call.
package contract

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
	"strconv"
	"syscall"
	"time"
)

const (
	// MaxAnswer is how large an answer may be, in bytes.
	MaxAnswer = 64 << 20
	// maxDiscard is how much of a body that is too large is read all the same,
	// because who still sends does not hear the answer.
	maxDiscard = 256 << 20
	// PlainText is the media type of text, and Structured that of a CloudEvent in
	// structured mode.
	PlainText  = "text/plain; charset=utf-8"
	Structured = "application/cloudevents+json"
)

// Problem is an answer that is not the function's: a status and a sentence.
type Problem struct {
	Status  int
	Message string
}

func (p *Problem) Error() string { return p.Message }

// Problemf is a problem with a sentence of a format.
func Problemf(status int, format string, args ...any) *Problem {
	return &Problem{status, fmt.Sprintf(format, args...)}
}

// Answer is what a call ends with.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Text is an answer of text.
func Text(status int, body string) Answer {
	return Answer{status, http.Header{"Content-Type": {PlainText}}, []byte(body)}
}

// Caller makes one call of the function; ctx ends with its time.
type Caller interface {
	Call(ctx context.Context, r *http.Request, body []byte) (Answer, error)
}

// function is how it is called, or why it cannot be.
type function struct {
	caller  Caller
	broken  error
	timeout time.Duration
	maxBody int64
	counts  Counts
}

// Setting is a variable of the environment, or what it is otherwise.
func Setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func number(name string, otherwise int) int {
	n, err := strconv.Atoi(Setting(name, strconv.Itoa(otherwise)))
	if err != nil {
		return otherwise
	}
	return n
}

// Timeout is how long a call may take: $FUNC_TIMEOUT, 180 seconds if it is not set.
func Timeout() time.Duration { return time.Duration(number("FUNC_TIMEOUT", 180)) * time.Second }

// Address is where requests come: port $FUNC_PORT, 8080 if it is not set.
func Address() string { return ":" + Setting("FUNC_PORT", "8080") }

// Handler answers requests with a function's calls, which it counts; one that is
// broken says so to its callers.
func Handler(c Caller, broken error, counts Counts) http.Handler {
	return &function{caller: c, broken: broken, timeout: Timeout(), maxBody: int64(number("REQ_MB_LIMIT", 16)) << 20, counts: counts}
}

// Serve answers requests with a function's calls until the process is told to
// end. A function that is broken is served all the same, and says so. The error
// is that nothing can be served.
func Serve(c Caller, broken error) error {
	if broken != nil {
		fmt.Fprintln(os.Stderr, broken)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	server := &http.Server{Addr: Address(), Handler: Handler(c, broken, &counters{}), ReadHeaderTimeout: time.Minute}
	go func() {
		<-stop
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (f *function) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		// A function that cannot run still answers its callers, with the
		// reason: it is healthy, and whoever deploys it is told.
		say := "OK"
		if f.broken != nil {
			say = "problem: " + f.broken.Error()
		}
		send(w, Text(http.StatusOK, say))
		return
	case "/metrics":
		send(w, Text(http.StatusOK, f.counts.Text()))
		return
	}
	started := time.Now()
	a, err := f.run(r)
	if err != nil {
		a = Failure(err)
	}
	seconds := time.Since(started)
	f.counts.Record(r.Method, seconds, a.Status >= 400)
	NewLine(r).Write(a, seconds)
	send(w, a)
}

// Failure is the answer that tells of an error, with a Problem's status or else 500.
func Failure(err error) Answer {
	a := Text(http.StatusInternalServerError, err.Error()+"\n")
	var p *Problem
	if errors.As(err, &p) {
		a.Status = p.Status
	}
	return a
}

func (f *function) run(r *http.Request) (Answer, error) {
	if f.broken != nil {
		return Answer{}, f.broken
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, f.maxBody+1))
	if err != nil {
		return Answer{}, Problemf(400, "the request cannot be read: %v", err)
	}
	if int64(len(body)) > f.maxBody {
		_, _ = io.CopyN(io.Discard, r.Body, maxDiscard)
		return Answer{}, Problemf(413, "the body is larger than %d MiB", f.maxBody>>20)
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if (kind == "application/json" || kind == Structured) && len(body) > 0 && !json.Valid(body) {
		return Answer{}, Problemf(400, "the body is not the JSON that its content type says")
	}
	ctx, cancel := context.WithTimeout(r.Context(), f.timeout)
	defer cancel()
	a, err := f.caller.Call(ctx, r, body)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Answer{}, Late()
	case err != nil:
		return Answer{}, err
	case a.Status < 200 || a.Status > 599: // which the library would not send, or nobody take
		return Answer{}, Problemf(500, "the function answered with the status %d, which is that of no answer", a.Status)
	case len(a.Body) > MaxAnswer:
		return Answer{}, Problemf(500, "the function's answer is larger than %d MiB", MaxAnswer>>20)
	}
	return a, nil
}

func send(w http.ResponseWriter, a Answer) {
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // a caller that has gone has no use for the rest
}

// Late is the problem of a call that runs past its time.
func Late() *Problem {
	return Problemf(http.StatusRequestTimeout, "the function did not answer within %g seconds and was stopped", Timeout().Seconds())
}
