package accesslog

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

// slow is a reader of the log that takes nothing until it is told to.
type slow struct {
	goOn chan struct{}
	all  bytes.Buffer
}

func (s *slow) Write(b []byte) (int, error) {
	<-s.goOn
	return s.all.Write(b)
}

// Requests go on while nobody reads the log, until too much is behind; nothing is
// lost.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slow{goOn: make(chan struct{})}
		log := New(out)
		written := 0
		done := make(chan struct{})
		entry := &Entry{Method: "GET", Path: "/"}
		line := len(appendEntry(nil, entry))
		enough := 2 * (maxBehind + flushSize) / line
		go func() {
			defer close(done)
			for ; written < enough; written++ {
				log.Write(entry)
			}
		}()
		synctest.Wait()
		if held := written * line; held < maxBehind || held > 2*maxBehind {
			t.Fatalf("while nobody reads, %d bytes are held, want about %d", held, maxBehind)
		}
		close(out.goOn)
		<-done
		log.Close()
		if got := bytes.Count(out.all.Bytes(), []byte("\n")); got != enough {
			t.Errorf("%d lines were written of %d", got, enough)
		}
		log.Write(entry) // neither waits nor does harm
	})
}

// A line is written although few follow.
func TestFewLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slow{goOn: make(chan struct{})}
		close(out.goOn)
		log := New(out)
		defer log.Close()
		log.Write(&Entry{Method: "GET", Path: "/"})
		time.Sleep(flushEvery)
		synctest.Wait()
		if out.all.Len() == 0 {
			t.Errorf("nothing was written after %v", flushEvery)
		}
	})
}
