package etcd

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const program = "../../../bin/engine/etcd"

// startStore starts an etcd with a quota of 16 MiB.
func startStore(t *testing.T) Store {
	t.Helper()
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v; build it with: make engine", err)
	}
	client, peer := "http://"+freeAddress(t), "http://"+freeAddress(t)
	cmd := exec.Command(program, "--data-dir="+t.TempDir(), "--log-level=error", "--quota-backend-bytes=16777216",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s := Store{Client: &http.Client{}, URL: client}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := s.ask(t.Context(), "maintenance/status", nil, nil)
		if err == nil {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// put writes a MiB.
func put(t *testing.T, s Store, key string) error {
	text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 1<<20)))
	return s.ask(t.Context(), "kv/put", map[string]any{"key": base64.StdEncoding.EncodeToString([]byte(key)), "value": text}, nil)
}

// fill writes until the store takes no more.
func fill(t *testing.T, s Store, key func(n int) string) {
	t.Helper()
	for n := range 100 {
		if err := put(t, s, key(n)); err != nil {
			if !strings.Contains(err.Error(), "space exceeded") {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("the store takes more than its quota")
}

// A store that its history has filled takes writes again.
func TestHistoryMakesRoom(t *testing.T) {
	s := startStore(t)
	if made, err := s.MakeRoom(t.Context()); made || err != nil {
		t.Fatalf("where nothing is to be done: %v, %v", made, err)
	}
	for range 2 { // it is no matter of once
		fill(t, s, func(int) string { return "same" })
		if err := put(t, s, "same"); err == nil {
			t.Fatal("a full store took a write")
		}
		if made, err := s.MakeRoom(t.Context()); !made || err != nil {
			t.Fatalf("made room: %v, %v", made, err)
		}
		if err := put(t, s, "same"); err != nil {
			t.Fatal(err)
		}
	}
}

// One that is full of what there is says so, and has room once that is deleted.
func TestFullStoreIsSaid(t *testing.T) {
	s := startStore(t)
	keys, err := 0, error(nil)
	for range 10 { // what it has is compact in the end
		fill(t, s, func(int) string {
			keys++
			return fmt.Sprint(keys)
		})
		if _, err = s.MakeRoom(t.Context()); err != nil {
			break
		}
	}
	if made, again := s.MakeRoom(t.Context()); made || !errors.Is(err, ErrFull) || !errors.Is(again, ErrFull) {
		t.Fatalf("made room: %v, %v and %v", made, err, again)
	}
	everything := base64.StdEncoding.EncodeToString([]byte{0})
	if err = s.ask(t.Context(), "kv/deleterange", map[string]any{"key": everything, "range_end": everything}, nil); err != nil {
		t.Fatal(err)
	}
	if made, err := s.MakeRoom(t.Context()); !made || err != nil {
		t.Fatalf("made room: %v, %v", made, err)
	}
	if err := put(t, s, "a"); err != nil {
		t.Fatal(err)
	}
}
