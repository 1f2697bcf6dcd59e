package balance

import (
	"fmt"
	"net/http"
)

// StatusClientGone is logged and counted for a request whose client left; the
// client gets no answer (nginx's number for the same).
const StatusClientGone = 499

// Refusal is why a request gets no instance, in words for the client.
type Refusal struct {
	// Status is the HTTP status of the answer.
	Status int
	// Message is one sentence.
	Message string
	// Header is further headers of the answer, each a name and a value.
	Header [][2]string
}

func (r *Refusal) Error() string { return r.Message }

// RetryAfter says whether the same request may succeed a moment later.
func (r *Refusal) RetryAfter() bool {
	return r.Status == http.StatusServiceUnavailable || r.Status == http.StatusTooManyRequests
}

func (r *Revision) queueFull() *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf(
		"revision %s is overloaded: %d requests wait for an instance already; try again later", r.Name, maxWaiting)}
}

func (r *Revision) failed(why string) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("revision %s has no instance: %s", r.Name, why)}
}

func (r *Revision) waitedTooLong() *Refusal {
	return &Refusal{Status: http.StatusGatewayTimeout, Message: fmt.Sprintf(
		"revision %s had no free instance within %v", r.Name, r.Settings().Timeout)}
}

var clientGone = &Refusal{Status: StatusClientGone, Message: "the client left"}
