package accesslog

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// maxText bounds each text of a line: most of them are the client's.
const maxText = 1024

func appendEntry(b []byte, e *Entry) []byte {
	b = append(b, `{"time":"`...)
	b = e.Start.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, '"')
	b = appendText(b, "peer", e.Peer)
	b = appendText(b, "protocol", e.Protocol)
	b = appendText(b, "method", e.Method)
	b = appendText(b, "host", e.Host)
	b = appendText(b, "path", e.Path)
	b = appendNumber(b, "status", int64(e.Status))
	b = append(b, `,"seconds":`...)
	b = strconv.AppendFloat(b, e.Took.Round(time.Microsecond).Seconds(), 'f', 6, 64)
	b = appendNumber(b, "received", e.Received)
	b = appendNumber(b, "sent", e.Sent)
	b = appendText(b, "namespace", e.Namespace)
	b = appendText(b, "revision", e.Revision)
	b = appendText(b, "instance", e.Instance)
	b = appendText(b, "traceparent", e.Trace)
	b = appendText(b, "problem", e.Problem)
	return append(b, "}\n"...)
}

func appendNumber(b []byte, name string, n int64) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return strconv.AppendInt(b, n, 10)
}

// appendText leaves an empty text out.
func appendText(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':', '"')
	if len(s) > maxText {
		s = s[:maxText]
	}
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c == 0x7f:
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r) // what is not UTF-8 becomes U+FFFD
			i += size
			continue
		}
		i++
	}
	return append(b, '"')
}
