// Package load is what gateways tell the autoscaler: how busy each revision
// is. A report is one line of JSON on an endless HTTP answer (Path).
package load

import "time"

// Path is where a gateway's admin port serves its reports.
const Path = "/v1/load"

// Interval is how often a gateway reports every revision that it has had
// requests for.
const Interval = time.Second

// Report is one gateway's view. It holds all revisions once per Interval,
// and one alone, at once, when a request waits for a revision without a ready
// instance.
type Report struct {
	Gateway   string         `json:"gateway"`
	Revisions []RevisionLoad `json:"revisions"`
}

// RevisionLoad is the load of one revision since the last report.
type RevisionLoad struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Concurrency is the time-weighted average of requests in the gateway or
	// in an instance.
	Concurrency float64 `json:"concurrency"`
	// Requests is how many arrived.
	Requests float64 `json:"requests"`
	// Waiting is how many wait for an instance now.
	Waiting int `json:"waiting"`
	// Starts are requests that found no running instance; the last ones, if
	// there were many.
	Starts []Start `json:"starts,omitempty"`
}

// Start is a request that found no running instance.
type Start struct {
	// At is when it got one.
	At   time.Time `json:"at"`
	Kind StartKind `json:"kind"`
	// Took is how long it waited, in nanoseconds.
	Took time.Duration `json:"took"`
}

// StartKind is what was done to get an instance.
type StartKind string

const (
	// Created is a new pod, Thawed one that was frozen.
	Created StartKind = "Created"
	Thawed  StartKind = "Thawed"
)

// RecentStarts is how many starts of a revision are remembered.
const RecentStarts = 5

// Recent is the end of starts that is worth remembering.
func Recent(starts []Start) []Start { return starts[max(len(starts)-RecentStarts, 0):] }
