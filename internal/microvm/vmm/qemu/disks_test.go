package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"testing"

	"redoubt.dev/redoubt/internal/microvm/vmm"
	"redoubt.dev/redoubt/internal/microvm/vmm/qmp"
)

// TestDiskGivenUp: QEMU may add a disk that nobody waits for any more.
func TestDiskGivenUp(t *testing.T) {
	near, far := pair(t)
	ctx, giveUp := context.WithCancel(t.Context())
	nodes, given := make(chan string, 8), make(chan struct{})
	go monitor(far, func(command, node string) {
		if command == "blockdev-add" {
			nodes <- node
			giveUp()
			<-given
		}
	})
	m := &Machine{done: make(chan struct{}), disks: map[vmm.DiskAddress]bool{}, gone: map[string]chan struct{}{}}
	var err error
	if m.monitor, err = qmp.New(t.Context(), near, m.event); err != nil {
		t.Fatal(err)
	}
	defer m.monitor.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	_, err = m.AddDisk(ctx, vmm.Disk{File: null, ReadOnly: true})
	close(given)
	if err == nil {
		t.Fatal("a disk was added that nobody waited for")
	}
	if _, err := m.AddDisk(t.Context(), vmm.Disk{File: null, ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	if one, two := <-nodes, <-nodes; one == two {
		t.Errorf("two disks are both %s", one)
	}
}

func pair(t *testing.T) (near *net.UnixConn, far net.Conn) {
	t.Helper()
	w, err := newWire()
	if err != nil {
		t.Fatal(err)
	}
	far, err = net.FileConn(w.far)
	_ = w.far.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.near.Close(); far.Close() })
	return w.near, far
}

// monitor answers commands as QEMU does; it tells of each before.
func monitor(conn net.Conn, tell func(command, node string)) {
	fmt.Fprintln(conn, `{"QMP": {}}`)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		var c struct {
			Execute   string
			Arguments struct {
				Node string `json:"node-name"`
			}
		}
		if json.Unmarshal(lines.Bytes(), &c) != nil {
			return
		}
		tell(c.Execute, c.Arguments.Node)
		fmt.Fprintln(conn, `{"return": {}}`)
	}
}
