package balance

import "time"

// Settings are what a revision asks of the gateway.
type Settings struct {
	// Port is where an instance listens.
	Port int32
	// HTTP2 says that instances speak HTTP/2 without TLS, and only that.
	HTTP2 bool
	// Concurrency is how many requests one instance gets at a time; 0 is no
	// limit.
	Concurrency int
	// Timeout is how long a request may wait for an instance, and how long an
	// instance may then take until its answer begins.
	Timeout time.Duration
	// ResponseStart bounds the second of the two as well.
	ResponseStart time.Duration
	// Freeze is how long an instance must have been without a request before it
	// may be frozen; 0 is never.
	Freeze time.Duration
	// Idle is how long an exchange may pass no byte; 0 is for ever.
	Idle time.Duration
}

// Answer is how long an instance may take until its answer begins.
func (s *Settings) Answer() time.Duration {
	if s.ResponseStart > 0 && s.ResponseStart < s.Timeout {
		return s.ResponseStart
	}
	return s.Timeout
}
