package runtimes

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// A spare serves nobody until the one order that it obeys to, and then is like
// any other server.
func TestSpare(t *testing.T) {
	const token = "open sesame"
	eachRuntime(t, func(t *testing.T, r Runtime) {
		if !r.Spare {
			return
		}
		s := startWith(t, r, "", "", "", SpareVariable+"="+Digest(token))
		address := strings.TrimPrefix(s.url, "http://")
		if status, answer := s.call(t, "echo", "text/plain", "early"); status != http.StatusNotFound || answer != "" {
			t.Errorf("without a function it answers %d %q", status, answer)
		}
		order := Order{
			Env:   map[string]string{"MOD_NAME": "test", "FUNC_HANDLER": "run", "FUNC_NAME": "ordered", "FUNC_TIMEOUT": patient},
			Files: map[string][]byte{"test" + r.Extension: []byte(sources[r.Name])},
		}
		if err := order.Send(t.Context(), address, "guessed"); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("an order with another token: %v", err)
		}
		if err := order.Send(t.Context(), address, token); err != nil {
			t.Fatal(err)
		}
		if status, answer := s.call(t, "about", "text/plain", ""); status != http.StatusOK || answer != "id-1 about ordered "+patient {
			t.Errorf("the function answers %d %q", status, answer)
		}
		// The path of orders is the function's from now on.
		order.Env["FUNC_NAME"] = "usurper"
		_ = order.Send(t.Context(), address, token)
		if _, answer := s.call(t, "about", "text/plain", ""); answer != "id-1 about ordered "+patient {
			t.Errorf("after a second order it answers %q", answer)
		}
		if r.Name == "nodejs" { // its thread begins anew with the same function
			s.call(t, "leave", "text/plain", "")
			if status, answer := s.call(t, "echo", "text/plain", "again"); status != http.StatusOK || answer != "again" {
				t.Errorf("after its thread ended it answers %d %q", status, answer)
			}
		}
	})
}

// A container that begins anew, as after it has needed too much memory, is what its
// order has made of it.
func TestSpareThatBeginsAnew(t *testing.T) {
	const token = "open sesame"
	eachRuntime(t, func(t *testing.T, r Runtime) {
		if !r.Spare {
			return
		}
		env := []string{SpareVariable + "=" + Digest(token), "FUNC_FOLDER=" + t.TempDir()}
		order := Order{
			Env:   map[string]string{"MOD_NAME": "other", "FUNC_HANDLER": "run", "FUNC_NAME": "ordered", "FUNC_TIMEOUT": patient},
			Files: map[string][]byte{"other" + r.Extension: []byte(sources[r.Name])},
		}
		first := startWith(t, r, "", "", "", env...)
		if err := order.Send(t.Context(), strings.TrimPrefix(first.url, "http://"), token); err != nil {
			t.Fatal(err)
		}
		again := startWith(t, r, "", "", "", env...)
		if status, answer := again.call(t, "about", "text/plain", ""); status != http.StatusOK || answer != "id-1 about ordered "+patient {
			t.Errorf("the function answers %d %q", status, answer)
		}
	})
}

// Of orders that come at the same time, one is obeyed to.
func TestSpareIsTakenOnce(t *testing.T) {
	const token = "open sesame"
	eachRuntime(t, func(t *testing.T, r Runtime) {
		if !r.Spare {
			return
		}
		// The first order's function is loaded for as long as a file is there.
		loading := t.TempDir() + "/loading"
		if err := os.WriteFile(loading, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		slow := map[string]string{
			"python3": "import os, time\nwhile os.path.exists('" + loading + "'): time.sleep(0.01)\ndef run(event, context): return 'first'\n",
			"nodejs":  "while (require('fs').existsSync('" + loading + "'));\nmodule.exports = { run: () => 'first' };\n",
		}[r.Name]
		s := startWith(t, r, "", "", "", SpareVariable+"="+Digest(token))
		address := strings.TrimPrefix(s.url, "http://")
		order := Order{Env: map[string]string{"MOD_NAME": "test", "FUNC_HANDLER": "run"}, Files: map[string][]byte{"test" + r.Extension: []byte(slow)}}
		results := make(chan error, 2)
		for range 2 {
			go func() { results <- order.Send(t.Context(), address, token) }()
		}
		if err := <-results; !errors.Is(err, ErrTaken) {
			t.Errorf("one of two orders: %v, want that the spare is taken", err)
		}
		if err := os.Remove(loading); err != nil {
			t.Fatal(err)
		}
		if err := <-results; err != nil {
			t.Errorf("the other order: %v", err)
		}
	})
}

// An order for a source that ends the process that loads it is answered, and
// callers are told.
func TestSpareWithASourceThatExits(t *testing.T) {
	const token = "open sesame"
	for name, source := range map[string]string{"python3": "import os\nos._exit(3)\n", "nodejs": "process.exit(3);\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := Get(name)
			if err != nil {
				t.Fatal(err)
			}
			s := startWith(t, r, "", "", "", SpareVariable+"="+Digest(token))
			order := Order{Env: map[string]string{"MOD_NAME": "test", "FUNC_HANDLER": "run"}, Files: map[string][]byte{"test" + r.Extension: []byte(source)}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := order.Send(ctx, strings.TrimPrefix(s.url, "http://"), token); err != nil {
				t.Fatal(err)
			}
			if status, answer := s.call(t, "run", "text/plain", ""); status != http.StatusInternalServerError || !strings.Contains(answer, "test"+r.Extension+" ends the process that loads it") {
				t.Errorf("it answers %d %q", status, answer)
			}
		})
	}
}
