package identity

import (
	"crypto/tls"
	"log/slog"
	"sync"
	"time"
)

// lookPause is how long a certificate is used before its files are looked at
// again.
const lookPause = 10 * time.Second

// followed is a certificate that is renewed by whoever writes its files.
type followed struct {
	files Files

	mu      sync.Mutex
	pair    *tls.Certificate // guarded by mu, as are all below
	changed int64
	looked  time.Time
}

func newFollowed(files Files) (*followed, error) {
	f := &followed{files: files, changed: files.changed(), looked: time.Now()}
	var err error
	f.pair, err = load(files)
	return f, err
}

// current is the certificate as of now. One that cannot be read is not used:
// the last good one is.
func (f *followed) current() *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.looked) < lookPause {
		return f.pair
	}
	f.looked = time.Now()
	changed := f.files.changed()
	if changed == f.changed {
		return f.pair
	}
	pair, err := load(f.files)
	if err != nil { // written in part, perhaps: looked at again
		slog.Warn("the gateway keeps its old certificate", "file", f.files.Certificate, "error", err)
		return f.pair
	}
	f.pair, f.changed = pair, changed
	return pair
}
