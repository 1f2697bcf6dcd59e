// Command worker runs in the pods of benchmark io: asked over HTTP, it reads and
// writes a file, or exchanges data with the worker of another pod, and answers
// with what each took, in milliseconds.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	block, page = 1 << 20, 4 << 10
	fileSize    = 32 << 20
	pages       = 4096     // read and written out of order
	download    = 16 << 20 // from another pod
	roundTrips  = 200
)

// source sends without an end, echo what it is sent.
const source, echo = ":8081", ":8082"

func main() {
	go serve(source, func(c net.Conn) {
		data := make([]byte, block)
		for {
			if _, err := c.Write(data); err != nil {
				return
			}
		}
	})
	go serve(echo, func(c net.Conn) { _, _ = io.Copy(c, c) })
	http.HandleFunc("/files", func(w http.ResponseWriter, _ *http.Request) { answer(w, files) })
	http.HandleFunc("/network", func(w http.ResponseWriter, r *http.Request) {
		answer(w, func() (map[string]float64, error) { return network(r.FormValue("peer")) })
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}

func serve(address string, with func(net.Conn)) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer c.Close()
			with(c)
		}()
	}
}

func answer(w http.ResponseWriter, measure func() (map[string]float64, error)) {
	took, err := measure()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(took)
}

// files goes through a new file of the root file system.
func files() (took map[string]float64, err error) {
	f, err := os.Create("/io")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	offsets := rand.New(rand.NewSource(1)).Perm(fileSize / page)[:pages]
	return timed([]step{
		{fmt.Sprintf("write %d MiB", fileSize>>20), func() error { return inOrder(f.WriteAt) }},
		{fmt.Sprintf("read %d MiB", fileSize>>20), func() error { return inOrder(f.ReadAt) }},
		{fmt.Sprintf("write %d pages at random", pages), func() error { return atRandom(f.WriteAt, offsets) }},
		{fmt.Sprintf("read %d pages at random", pages), func() error { return atRandom(f.ReadAt, offsets) }},
	})
}

func inOrder(at func([]byte, int64) (int, error)) error {
	data := make([]byte, block)
	for offset := int64(0); offset < fileSize; offset += block {
		if _, err := at(data, offset); err != nil {
			return err
		}
	}
	return nil
}

func atRandom(at func([]byte, int64) (int, error), offsets []int) error {
	data := make([]byte, page)
	for _, n := range offsets {
		if _, err := at(data, int64(n)*page); err != nil {
			return err
		}
	}
	return nil
}

// network exchanges data with the worker at the address peer.
func network(peer string) (map[string]float64, error) {
	return timed([]step{
		{fmt.Sprintf("receive %d MiB", download>>20), func() error { return receive(peer + source) }},
		{fmt.Sprintf("%d round trips", roundTrips), func() error { return exchange(peer + echo) }},
	})
}

func receive(from string) error {
	c, err := net.Dial("tcp", from)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.CopyN(io.Discard, c, download)
	return err
}

func exchange(with string) error {
	c, err := net.Dial("tcp", with)
	if err != nil {
		return err
	}
	defer c.Close()
	var one [1]byte
	for range roundTrips {
		if _, err := c.Write(one[:]); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, one[:]); err != nil {
			return err
		}
	}
	return nil
}

type step struct {
	name string
	do   func() error
}

func timed(steps []step) (map[string]float64, error) {
	took := map[string]float64{}
	for _, s := range steps {
		began := time.Now()
		if err := s.do(); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		took[s.name] = float64(time.Since(began)) / float64(time.Millisecond)
	}
	return took, nil
}
