package main

import (
	"strconv"
	"strings"
)

const (
	// page is WebAssembly's unit of memory, in bytes, and most how many there can
	// be.
	page = 64 << 10
	most = 1 << 16
)

// pages is how much memory an instance may have where the function has limit, a
// quantity of Kubernetes: three quarters of it. The rest is this server's, which
// would end with the sandbox otherwise, before the module finds out.
func pages(limit string) uint32 {
	bytes, ok := quantity(limit)
	if !ok {
		return most
	}
	return uint32(max(1, min(most, bytes/4*3/page)))
}

func quantity(text string) (bytes float64, ok bool) {
	const units = "KMGTPE"
	base := 1000.0
	number, binary := strings.CutSuffix(text, "i")
	if binary {
		base = 1024
	}
	factor := 1.0
	if number != "" {
		if power := strings.IndexByte(units, strings.ToUpper(number)[len(number)-1]); power >= 0 {
			number = number[:len(number)-1]
			for range power + 1 {
				factor *= base
			}
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	return n * factor, err == nil && n > 0
}
