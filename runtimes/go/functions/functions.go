// Package functions is what functions in Go are written against, under the name
// that Kubeless gave it: an event, a context, and the server that the build puts
// around the handler.
package functions

import (
	"context"
	"net/http"
)

// Event is what a function is called for.
type Event struct {
	// Data is the body.
	Data string
	// EventID, EventType, EventTime and EventNamespace are the headers of those
	// names, or else a CloudEvent's attributes id, type, time and source.
	EventID, EventType, EventTime, EventNamespace string
	Extensions                                    Extension
}

// Extension is the call itself.
type Extension struct {
	Request  *http.Request
	Response http.ResponseWriter
	// Context ends with the time of the call.
	Context context.Context
}

// Context is what a function may know of itself.
type Context struct {
	FunctionName, Timeout, Runtime, MemoryLimit string
}
