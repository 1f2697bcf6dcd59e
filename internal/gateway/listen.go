package gateway

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

// listener knows which side of the cluster it is on.
type listener struct {
	net.Listener
	public bool
}

func listen(opts Options) ([]listener, error) {
	var all []listener
	for _, l := range opts.Public {
		all = append(all, listener{l, true})
	}
	for _, address := range opts.Listen {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("listen for requests: %w", err)
		}
		all = append(all, listener{l, false})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("listen for requests: no address was given")
	}
	return all, nil
}

// Inherited returns the listeners that the program was started with, passed as
// systemd passes sockets (sd_listen_fds(3)).
func Inherited() ([]net.Listener, error) {
	const first = 3 // after the standard streams
	text := os.Getenv("LISTEN_FDS")
	if text == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 16 {
		return nil, fmt.Errorf("LISTEN_FDS: %q is not a number of sockets", text)
	}
	var all []net.Listener
	for at := range n {
		file := os.NewFile(uintptr(first+at), "inherited socket")
		l, err := net.FileListener(file)
		_ = file.Close() // the listener has its own copy
		if err != nil {
			return nil, fmt.Errorf("take over inherited socket %d: %w", at, err)
		}
		all = append(all, l)
	}
	return all, nil
}
