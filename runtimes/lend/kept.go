package lend

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"redoubt.dev/redoubt/runtimes/contract"
)

// kept is the server's copy of a connection. Nothing waits for it here: each
// request that the program reads would wake the server too.
type kept struct {
	mu sync.Mutex
	fd int // -1 when it is closed
}

// keep takes a connection over.
func keep(c *net.TCPConn) (*kept, error) {
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	k := &kept{fd: -1}
	failed := raw.Control(func(fd uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if k.fd, err = syscall.Dup(int(fd)); err == nil {
			syscall.CloseOnExec(k.fd)
		}
	})
	if failed != nil {
		return nil, failed
	}
	return k, err
}

func (k *kept) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fd >= 0 {
		_ = syscall.Close(k.fd)
	}
	k.fd = -1
}

// answer sends the connection's last answer, to a request with a method if that is
// known, and closes it.
func (k *kept) answer(a contract.Answer, method string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	file := os.NewFile(uintptr(k.fd), "connection")
	k.fd = -1
	c, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		return
	}
	defer c.Close()
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", a.Status, http.StatusText(a.Status), contract.PlainText, len(a.Body))
	if method == http.MethodHead {
		a.Body = nil
	}
	_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // nothing else of an answer is on its way
	_, _ = c.Write(append([]byte(head), a.Body...))
}
