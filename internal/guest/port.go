package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"redoubt.dev/redoubt/internal/wire"
)

// hostPause is how long to wait when nobody holds the host's end of the port.
const hostPause = 2 * time.Millisecond

// port is the virtio-serial port to the host.
type port struct{ *os.File }

// openPort finds the host's port by its name.
func openPort() (port, error) {
	const class = "/sys/class/virtio-ports"
	entries, err := os.ReadDir(class)
	if err != nil {
		return port{}, fmt.Errorf("find the port to the host: %w", err)
	}
	for _, e := range entries {
		name, err := os.ReadFile(filepath.Join(class, e.Name(), "name"))
		if err != nil || strings.TrimSpace(string(name)) != wire.Port {
			continue
		}
		f, err := os.OpenFile(filepath.Join("/dev", e.Name()), os.O_RDWR, 0)
		if err != nil {
			return port{}, fmt.Errorf("open the port to the host: %w", err)
		}
		return port{f}, nil
	}
	return port{}, errors.New("find the port to the host: the machine has no virtio-serial port named " + wire.Port)
}

// Read waits while nobody holds the other end, which reads as an end of file:
// a machine that is being copied has nobody there for a while.
func (p port) Read(b []byte) (int, error) {
	for {
		n, err := p.File.Read(b)
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		time.Sleep(hostPause)
	}
}
