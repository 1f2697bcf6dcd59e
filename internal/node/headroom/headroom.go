// Package headroom keeps some of a node's processors free of pods that take more
// than they asked for, whichever class they have: neighbours that ask for little
// find one idle when a request wakes them, and do not wait for one of the
// greedy's. A pod may always have what it requests; what it takes beyond that is
// borrowed, and is to be had on the other processors alone.
//
// It reads and writes the control groups that the kubelet made, and keeps no
// state in them: begun anew it lets all pods have all processors, and looks.
package headroom

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"syscall"
	"time"

	"redoubt.dev/redoubt/internal/allowance"
	"redoubt.dev/redoubt/internal/node/groups"
	"redoubt.dev/redoubt/internal/processors"
)

const (
	period = time.Second
	// little is what any pod may use, in processors, whatever it requests.
	little = 0.1
	// burst is what a pod may use beyond its request, in time of a processor:
	// most programs have begun by then. most is the debt that is remembered.
	burst, most = time.Second, 2 * time.Second
)

// Headroom watches the pods of one kubelet.
type Headroom struct {
	files    files
	pods     map[string]*pod // by group; those that were there at the last look
	promised float64         // processors that the pods held at this look request
}

// pod is one that has processes.
type pod struct {
	used   time.Duration // of processors, since it began
	seen   time.Time     // the last look, zero before the first
	bucket allowance.Bucket
	held   bool // it keeps off some processors
}

// New watches the pods of the kubelet whose control groups are below root, a path
// in the hierarchy, of those that are mounted (groups.Mounts on any machine). Where the kernel lets no group have processors of its own it
// fails.
func New(mounted, root string) (*Headroom, error) {
	f, err := find(mounted, root)
	if err != nil {
		return nil, fmt.Errorf("keep processors free: %w", err)
	}
	return &Headroom{files: f, pods: map[string]*pod{}}, nil
}

// Run watches until ctx ends.
func (h *Headroom) Run(ctx context.Context) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	failing := ""
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			err := h.look(now)
			if err != nil && err.Error() != failing {
				slog.Warn("a pod that takes more than it asked for may keep others waiting", "error", err)
			}
			if failing = ""; err != nil {
				failing = err.Error()
			}
		}
	}
}

// look sums up what every pod has used, and holds those that are greedy.
func (h *Headroom) look(now time.Time) error {
	all, err := processors.Of(h.files.sets)
	if err != nil {
		return err
	}
	seen := map[string]*pod{}
	h.promised = 0
	var failed []error
	err = groups.Each(h.files.used, func(dir string) error {
		at, err := filepath.Rel(h.files.used, dir)
		if err != nil {
			return err
		}
		p := h.pods[at]
		if p == nil {
			p = &pod{bucket: allowance.Bucket{Burst: burst, Most: most}}
		}
		if err := h.judge(at, p, all, now); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
			return nil // it has ended
		} else if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", filepath.Base(at), err))
		}
		seen[at] = p
		return nil
	})
	h.pods = seen
	return errors.Join(append(failed, err)...)
}

// judge holds a pod, or lets it go. What all that are held request has room on the
// processors they are held to. One that is new may have been held by an earlier
// watch.
func (h *Headroom) judge(at string, p *pod, all processors.Set, now time.Time) error {
	used, err := h.files.usage(at)
	if err != nil {
		return err
	}
	took, passed, unseen := used-p.used, now.Sub(p.seen), p.seen.IsZero()
	p.used, p.seen = used, now
	if unseen {
		return processors.Allow(filepath.Join(h.files.sets, at), all)
	}
	if took <= time.Duration(little*float64(passed)) && p.bucket.Paid() {
		return nil // most are idle
	}
	request, err := h.files.request(at)
	if err != nil {
		return err
	}
	set, hold := all, p.bucket.Add(took, passed, max(request, little)) && h.promised+request <= float64(len(all.Greedy()))
	if hold {
		set = all.Greedy()
		h.promised += request
	}
	if hold == p.held {
		return nil
	}
	if err := processors.Allow(filepath.Join(h.files.sets, at), set); err != nil {
		return err
	}
	p.held = hold
	slog.Info("pod takes more than it asked for", "group", filepath.Base(at), "held", hold, "processors", set.String())
	return nil
}
