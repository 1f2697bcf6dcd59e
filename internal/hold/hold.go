// Package hold is how gateways tell a node which pods they use, so that the
// node can freeze the others.
//
// A gateway keeps one connection to each node (see Dial and Listen). With a new
// connection it holds every pod of the node; it releases one that it sends no
// requests to, and holds it again before the next one. A node freezes what
// every connected gateway has released, thaws before it answers a hold, and
// takes the end of a connection as holding everything: whatever goes wrong, a
// pod is left running rather than frozen.
//
// Both directions carry JSON values, one a line.
package hold

import "time"

// Port is where nodes listen by default.
const Port = 9443

// MaxLine bounds one line, in bytes.
const MaxLine = 512

// Patience is how long a gateway waits for a node that does not answer before
// it sends its request all the same.
const Patience = 5 * time.Second

// Request is what a gateway says; one field is set, with the pod's UID.
type Request struct {
	Release string `json:"release,omitempty"`
	Hold    string `json:"hold,omitempty"`
}

// Answer tells that the pod runs and goes on doing so.
type Answer struct {
	Held string `json:"held"`
}
