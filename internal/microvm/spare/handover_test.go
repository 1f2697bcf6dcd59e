package spare

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// meet returns what somebody at a path received of what give sends there, and
// what give returned.
func meet(t *testing.T, give func(path string) error) (got *handover, received, given error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spare")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	done := make(chan error)
	go func() { done <- give(path) }()
	conn, err := listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	got, received = receive(conn)
	return got, received, <-done
}

// openFile is one that can be told apart.
func openFile(t *testing.T) (*os.File, unix.Stat_t) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	return f, stat
}

func TestASpareGetsAllThatAShimHas(t *testing.T) {
	socket, want := openFile(t)
	shim := Shim{Args: []string{"shim", "-id", "x"}, Env: []string{"A=b=c", "D="}, Dir: "/bundle"}
	var pid int
	got, received, given := meet(t, func(path string) error {
		return hand(t.Context(), path, shim, socket, func(its int) error {
			pid = its
			return nil
		})
	})
	if received != nil || given != nil {
		t.Fatal(received, given)
	}
	defer unix.Close(got.socket)
	var stat unix.Stat_t
	if err := unix.Fstat(got.socket, &stat); err != nil || stat.Ino != want.Ino || stat.Dev != want.Dev {
		t.Errorf("the socket is another file: %v", err)
	}
	if !slices.Equal(got.shim.Args, shim.Args) || !slices.Equal(got.shim.Env, shim.Env) || got.shim.Dir != shim.Dir {
		t.Errorf("got %+v", got.shim)
	}
	if pid != os.Getpid() {
		t.Errorf("the spare is process %d", pid)
	}
}

// Who does not hear that a spare took its shim starts another: the spare is not it.
func TestASpareThatIsNotHeardTakesNothing(t *testing.T) {
	file, _ := openFile(t)
	_, received, given := meet(t, func(path string) error {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return err
		}
		if _, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte("\x00\x00\x00\x02"), unix.UnixRights(int(file.Fd())), nil); err != nil {
			return err
		}
		if _, err := conn.Write([]byte("{}")); err != nil {
			return err
		}
		return conn.Close()
	})
	if received == nil || given != nil {
		t.Errorf("taken: %v, given: %v", received, given)
	}
}

// A spare that could not be recorded is nobody's shim.
func TestASpareThatIsNotRecordedTakesNothing(t *testing.T) {
	file, _ := openFile(t)
	full := errors.New("disk full")
	_, received, given := meet(t, func(path string) error {
		return hand(t.Context(), path, Shim{}, file, func(int) error { return full })
	})
	if received == nil || !errors.Is(given, full) {
		t.Errorf("taken: %v, given: %v", received, given)
	}
}

// What is not a shim with one socket is not taken, and the giver is not told
// that it is.
func TestASpareTakesNothingElse(t *testing.T) {
	file, _ := openFile(t)
	fd := int(file.Fd())
	message := func(text string, files ...int) func(path string) error {
		return func(path string) error {
			conn, err := net.Dial("unix", path)
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte(text[:4]), unix.UnixRights(files...), nil); err != nil {
				return err
			}
			if _, err := conn.Write([]byte(text[4:])); err != nil {
				return err
			}
			_ = conn.(*net.UnixConn).CloseWrite()
			n, err := conn.Read(make([]byte, 4))
			if n > 0 {
				t.Error("it is taken")
			}
			return err
		}
	}
	for what, give := range map[string]func(string) error{
		"no file":      message("\x00\x00\x00\x02{}"),
		"two files":    message("\x00\x00\x00\x02{}", fd, fd),
		"too much":     message("\xff\xff\xff\xff"+strings.Repeat("{", 100), fd),
		"not a shim":   message("\x00\x00\x00\x04true", fd),
		"an early end": message("\x00\x00\x00\x10{", fd),
	} {
		if _, err, _ := meet(t, give); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}
