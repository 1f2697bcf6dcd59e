package http1

import "net/http"

// Error is why a message is refused.
type Error struct {
	// Status is what a client is told of its request. For an instance's answer
	// it has no meaning: any fault of that is a bad gateway.
	Status int
	// Message is one sentence, without anything that the peer sent.
	Message string
}

func (e *Error) Error() string { return e.Message }

func bad(message string) *Error { return &Error{http.StatusBadRequest, message} }

// The refusals, together, so that a test can go through them.
var (
	ErrBareLF         = bad("a line ends without CR before LF")
	ErrRequestLine    = bad("the request line is not METHOD SP TARGET SP HTTP/1.1")
	ErrStatusLine     = bad("the status line is not HTTP/1.1 SP CODE SP REASON")
	ErrTarget         = bad("the request target has an invalid character or form")
	ErrVersion        = &Error{http.StatusHTTPVersionNotSupported, "the version is neither HTTP/1.1 nor HTTP/1.0"}
	ErrConnect        = &Error{http.StatusNotImplemented, "CONNECT is not offered"}
	ErrFieldName      = bad("a header's name is empty or has an invalid character")
	ErrFieldValue     = bad("a header's value has a control character")
	ErrFieldLookalike = bad("a header with an underscore looks like one that the gateway sets")
	ErrTooLarge       = &Error{http.StatusRequestHeaderFieldsTooLarge, "the head is larger than 64 KiB or has more than 256 headers"}
	ErrHost           = bad("there must be one Host header with a valid name")
	ErrHostMismatch   = bad("the target names another host than the Host header")
	ErrLength         = bad("Content-Length must be given once, in digits")
	ErrTwoLengths     = bad("Content-Length and Transfer-Encoding are both given")
	ErrCoding         = &Error{http.StatusNotImplemented, "Transfer-Encoding must be chunked, once, alone"}
	ErrCodingVersion  = bad("Transfer-Encoding is not part of HTTP/1.0")
	ErrExpect         = &Error{http.StatusExpectationFailed, "the only expectation that can be met is 100-continue"}
	ErrUpgradeBody    = bad("a request to change the protocol must not have a body")
	ErrChunk          = bad("a chunk has an invalid size, an extension, or a wrong end")
	ErrTrailer        = bad("a trailer is malformed, too large, or not allowed as a trailer")
)
