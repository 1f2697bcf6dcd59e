// Package calls measures what a warm call of a function costs, in each language:
// the runtime's server with the smallest function, beside the smallest server that
// the language's own library makes. Both run on this machine, in no sandbox, which
// would slow down both alike.
package calls

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"time"

	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/wrk"
)

const (
	suite  = "calls"
	bare   = "bare"
	rounds = 5
	span   = time.Second
	// busy is how many connections call at the same time.
	busy = 8
	// most is how much longer a call may take than the bare server's answer: that
	// has at least 0.8 of its speed then.
	most = 1.25
	// patience is how long a server may take to answer.
	patience = time.Minute
)

// Run measures every language.
func Run(ctx context.Context) (results []measure.Result, err error) {
	for _, l := range languages {
		more, err := run(ctx, l)
		if err != nil {
			return results, fmt.Errorf("%s: %w", l.runtime, err)
		}
		results = append(results, more...)
	}
	return results, nil
}

func run(ctx context.Context, l language) ([]measure.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "redoubt-bench-calls-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	addresses := map[string]string{}
	for name, serve := range map[string]func(context.Context, string, int32) error{bare: l.bare, l.runtime: l.function} {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		addresses[name] = fmt.Sprintf("127.0.0.1:%d", port)
		ended := make(chan error, 1)
		go func() { ended <- serve(ctx, dir, port) }()
		defer func() { cancel(); <-ended }()
		if err := listens(addresses[name], ended); err != nil {
			return nil, err
		}
	}
	return compare(ctx, l.runtime, addresses)
}

func compare(ctx context.Context, runtime string, addresses map[string]string) (results []measure.Result, err error) {
	for _, connections := range []int{1, busy} {
		times := map[string][]float64{}
		err := measure.Interleave([]string{bare, runtime}, rounds, func(name string, record bool) error {
			s, err := wrk.Run(ctx, "", addresses[name], "localhost", connections, span)
			if err == nil && record {
				took := 1000 * s.P50
				if connections > 1 {
					took = 1e6 / s.Rate // what all of them got done
				}
				times[name] = append(times[name], took)
			}
			return err
		})
		if err != nil {
			return results, err
		}
		metric := runtime + ", median of calls one by one"
		if connections > 1 {
			metric = fmt.Sprintf("%s, a second by its calls, %d at a time", runtime, connections)
		}
		peer := measure.Of(suite, bare, metric, "us", times[bare]...)
		results = append(results, peer, measure.Of(suite, "function", metric, "us", times[runtime]...).Within(math.Round(peer.P50*most)))
	}
	measure.Compare(results, bare)
	return results, nil
}

func freePort() (int32, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return int32(l.Addr().(*net.TCPAddr).Port), l.Close()
}

// listens waits for a server that may end before.
func listens(address string, ended chan error) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			return c.Close()
		}
		select {
		case err := <-ended:
			ended <- nil
			return errors.Join(errors.New("the server ended"), err)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not listen within %v", patience)
		}
	}
}
