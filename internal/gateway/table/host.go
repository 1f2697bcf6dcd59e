package table

import (
	"strings"
)

// HostName takes the port and a final dot off a Host header, and the capital
// letters.
func HostName(host string) string {
	if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:at]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
