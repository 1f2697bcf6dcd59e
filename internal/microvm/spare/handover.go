package spare

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// listening is the file descriptor at which a shim finds its socket.
	listening = 3
	// handoverLimit bounds the handing over of a pod.
	handoverLimit = 5 * time.Second
	// maxShim is the size of a Shim's description at most, in bytes.
	maxShim = 1 << 20
)

// Shim is how a pod's shim is to be started.
type Shim struct {
	// Args are its arguments, its own name first, and Env its environment.
	Args, Env []string
	// Dir is its working folder, the bundle of the pod's first container.
	Dir string
}

// handover is a pod that a spare was given.
type handover struct {
	shim   Shim
	socket int // the shim's, listening
}

// Take hands the pod's shim to the spare in a place; it is not taken where there
// is none, or it does not answer. socket is the shim's, listening. The spare's
// process is recorded before it is the shim: whoever asked may end in between.
func Take(ctx context.Context, place Place, shim Shim, socket *os.File, record func(pid int) error) (taken bool) {
	path, err := place.socket()
	return err == nil && hand(ctx, path, shim, socket, record) == nil
}

// hand gives a shim to who listens at path.
func hand(ctx context.Context, path string, shim Shim, socket *os.File, record func(pid int) error) error {
	conn, err := (&net.Dialer{Timeout: handoverLimit}).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(handoverLimit))
	body, err := json.Marshal(shim)
	if err != nil {
		return err
	}
	length := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	if _, _, err := conn.(*net.UnixConn).WriteMsgUnix(length, unix.UnixRights(int(socket.Fd())), nil); err != nil {
		return err
	}
	if _, err := conn.Write(body); err != nil {
		return err
	}
	var answer [4]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if err := record(int(binary.BigEndian.Uint32(answer[:]))); err != nil {
		return err
	}
	// Only now is the spare the shim: had the answer come too late, there would be two.
	_, err = conn.Write([]byte{1})
	return err
}

// receive reads what Take sends, says that it is taken, and hears that this was
// heard.
func receive(conn *net.UnixConn) (_ *handover, err error) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(handoverLimit))
	length, control := [4]byte{}, [64]byte{}
	n, controls, _, _, err := conn.ReadMsgUnix(length[:], control[:])
	if err != nil || n != len(length) {
		return nil, fmt.Errorf("read a pod: %d bytes: %w", n, err)
	}
	h := &handover{}
	if h.socket, err = onlyFile(control[:controls]); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(h.socket)
		}
	}()
	size := binary.BigEndian.Uint32(length[:])
	if size > maxShim {
		return nil, fmt.Errorf("read a pod: %d bytes, at most %d", size, maxShim)
	}
	if err := json.NewDecoder(io.LimitReader(conn, int64(size))).Decode(&h.shim); err != nil {
		return nil, fmt.Errorf("read a pod: %w", err)
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint32(nil, uint32(os.Getpid()))); err != nil {
		return nil, fmt.Errorf("take a pod: %w", err)
	}
	if _, err := io.ReadFull(conn, length[:1]); err != nil {
		return nil, fmt.Errorf("take a pod: %w", err)
	}
	return h, nil
}

// onlyFile is the one file that came with a message.
func onlyFile(control []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) != 1 {
		return -1, fmt.Errorf("read a pod: %d messages with files: %w", len(messages), err)
	}
	files, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(files) != 1 {
		return -1, fmt.Errorf("read a pod: %d files: %w", len(files), err)
	}
	return files[0], nil
}

// become makes this process the pod's shim, as if it had been started so.
func (h *handover) become() error {
	os.Clearenv()
	var errs []error
	for _, pair := range h.shim.Env {
		name, value, _ := strings.Cut(pair, "=")
		errs = append(errs, os.Setenv(name, value))
	}
	os.Args = h.shim.Args
	// Nobody reads what the spare would say any more.
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err == nil {
		err = errors.Join(unix.Dup2(int(nowhere.Fd()), int(os.Stderr.Fd())), nowhere.Close())
	}
	return errors.Join(append(errs, err, os.Chdir(h.shim.Dir), unix.Dup2(h.socket, listening), unix.Close(h.socket))...)
}
