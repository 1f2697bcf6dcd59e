// Package etcd keeps etcd writable. An etcd whose store has reached its quota
// raises an alarm and takes no writes but deletions from then on, until somebody
// has made room and ended the alarm: so much as the API server's own compaction
// is a write. Anybody who may change a large object fills a store within minutes,
// with history alone.
package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// ErrFull says that a store has no room though it has no history.
var ErrFull = errors.New("etcd is full, and takes no writes but deletions; delete what is large, such as ConfigMaps and Secrets that nobody needs")

const (
	// look is how often the alarm is asked for.
	look = 10 * time.Second
	// patience bounds a question, and defragmenting too: it takes as long as what
	// stays takes to be copied.
	patience = 5 * time.Minute
	// enough is the part of its quota that a store has with room for writes.
	enough = 0.9
	// noSpace is the alarm's name.
	noSpace = "NOSPACE"
)

// Store is an etcd, which listens for clients at URL.
type Store struct {
	Client *http.Client
	URL    string
}

// Keep makes room whenever the store is full, until ctx ends, and says so. An
// etcd that does not answer is asked again.
func (s Store) Keep(ctx context.Context, say func(string)) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		news := ""
		switch made, err := s.MakeRoom(ctx); {
		case errors.Is(err, ErrFull):
			news = err.Error()
		case made:
			say("etcd was full, and has room again: its history was dropped")
		}
		if news != "" && news != said {
			say(news)
		}
		said = news
	}
}

// MakeRoom makes a store that is full take writes again: it drops what is only
// history, gives that room back, and ends the alarm. Who follows changes reads
// what there is anew. It returns whether there was anything to do, and ErrFull
// where history is not what fills the store.
func (s Store) MakeRoom(ctx context.Context) (made bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var raised struct {
		Alarms []struct {
			MemberID string `json:"memberID"`
			Alarm    string `json:"alarm"`
		} `json:"alarms"`
	}
	if err := s.ask(ctx, "maintenance/alarm", map[string]any{"action": "GET"}, &raised); err != nil {
		return false, err
	}
	for _, a := range raised.Alarms {
		if a.Alarm != noSpace {
			continue
		}
		if err := s.shrink(ctx); err != nil {
			return false, err
		}
		end := map[string]any{"action": "DEACTIVATE", "memberID": a.MemberID, "alarm": noSpace}
		if err := s.ask(ctx, "maintenance/alarm", end, nil); err != nil {
			return false, err
		}
		made = true
	}
	return made, nil
}

// status is what a store says of itself.
type status struct {
	Header struct {
		Revision int64 `json:"revision,string"`
	} `json:"header"`
	Used  int64 `json:"dbSizeInUse,string"` // bytes
	Quota int64 `json:"dbSizeQuota,string"` // bytes
}

// shrink drops the history of a store and gives back what it took.
func (s Store) shrink(ctx context.Context) error {
	var now status
	if err := s.ask(ctx, "maintenance/status", nil, &now); err != nil {
		return err
	}
	compact := map[string]any{"revision": fmt.Sprint(now.Header.Revision), "physical": true}
	if err := s.ask(ctx, "kv/compaction", compact, nil); err != nil && !strings.Contains(err.Error(), "has been compacted") {
		return err
	}
	if err := s.ask(ctx, "maintenance/status", nil, &now); err != nil {
		return err
	}
	if float64(now.Used) > enough*float64(now.Quota) {
		return fmt.Errorf("%w (%d of %d MiB)", ErrFull, now.Used>>20, now.Quota>>20)
	}
	return s.ask(ctx, "maintenance/defragment", nil, nil)
}

// ask makes a call of etcd's API in JSON and reads the answer into reply, unless
// that is nil.
func (s Store) ask(ctx context.Context, what string, request map[string]any, reply any) error {
	const most = 64 << 10
	if request == nil {
		request = map[string]any{}
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v3/"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		return fmt.Errorf("ask etcd: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return fmt.Errorf("ask etcd for %s: %w", what, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask etcd for %s: %s: %s", what, resp.Status, answer)
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(answer, reply); err != nil {
		return fmt.Errorf("ask etcd for %s: %w", what, err)
	}
	return nil
}
