package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Server and Speeds are the arguments with which the program serves, and
// measures Figures; the second takes the peer's address.
const (
	Server = "serve"
	Speeds = "figures"
)

// Port is where Serve answers, on every address.
const Port = 8080

// What Figures finds, by name.
const (
	FileWrite   = "file write MB/s"
	FileRead    = "file read MB/s"
	Network     = "network MB/s"
	SystemCalls = "system calls answered"
)

const (
	block = 1 << 20
	// most is what is written to a file or sent, in blocks, and span how long
	// that goes on at most.
	most = 64
	span = time.Second
)

// Serve answers for another pod's Figures, and whoever asks, until the process
// ends: a request's body is read, and its length is the answer.
func Serve() error {
	server := &http.Server{
		Addr:              net.JoinHostPort("", strconv.Itoa(Port)),
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, io.LimitReader(r.Body, most*block))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			fmt.Fprint(w, n)
		}),
	}
	return server.ListenAndServe()
}

// Figures measures how fast the sandbox is: files in the container's own file
// system, and what is sent to a peer that serves. A megabyte is 10^6 bytes.
func Figures(peer string) (Report, error) {
	r := Report{Started: time.Now(), Figures: map[string]float64{}}
	calls, err := systemCalls()
	if err != nil {
		return r, fmt.Errorf("try system calls: %w", err)
	}
	r.Figures[SystemCalls] = float64(calls)
	if r.Figures[FileWrite], r.Figures[FileRead], err = files(); err != nil {
		return r, fmt.Errorf("write and read a file: %w", err)
	}
	if r.Figures[Network], err = network(peer); err != nil {
		return r, fmt.Errorf("send to the peer: %w", err)
	}
	return r, nil
}

// files writes a file until it is on the disk, and reads it again. Where the
// kernel heeds the advice, what it keeps of the file in memory is dropped before.
func files() (write, read float64, err error) {
	f, err := os.CreateTemp("/", "probe")
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	write, err = rate(func() (int, error) { return f.Write(make([]byte, block)) }, f.Sync)
	if err != nil {
		return 0, 0, err
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return 0, 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, 0, err
	}
	buffer := make([]byte, block)
	read, err = rate(func() (int, error) { return f.Read(buffer) }, nil)
	return write, read, err
}

// network sends a request whose body goes on for a while.
func network(peer string) (float64, error) {
	body, sent := io.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	url := "http://" + net.JoinHostPort(peer, strconv.Itoa(Port))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return 0, err
	}
	answered := make(chan error, 1)
	go func() {
		err := post(req)
		_ = body.CloseWithError(cmp.Or(err, errors.New("the peer answers before it has all"))) // nobody reads on
		answered <- err
	}()
	return rate(func() (int, error) { return sent.Write(make([]byte, block)) }, func() error {
		_ = sent.Close()
		return <-answered
	})
}

func post(req *http.Request) error {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, block))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the peer answers %s: %s", resp.Status, said)
	}
	return err
}

// rate repeats something until it ends, or it was enough, and then ends it. It
// answers with megabytes a second.
func rate(again func() (int, error), end func() error) (float64, error) {
	begun, total := time.Now(), 0
	for range most {
		n, err := again()
		total += n
		if err == io.EOF || time.Since(begun) > span {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	if end != nil {
		if err := end(); err != nil {
			return 0, err
		}
	}
	return float64(total) / 1e6 / time.Since(begun).Seconds(), nil
}
