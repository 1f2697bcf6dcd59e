package share

import (
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

func TestMain(m *testing.M) {
	if Asked() {
		Main()
		return
	}
	os.Exit(m.Run())
}

// Operations of the FUSE protocol (linux/fuse.h).
const (
	opLookup = 1
	opMkdir  = 9
	opOpen   = 14
	opInit   = 26
	opCreate = 35
	opIoctl  = 39
	rootNode = 1
)

// request packs one: fuse_in_header and its body.
func request(op uint32, node uint64, body []byte) []byte {
	out := make([]byte, 40)
	binary.NativeEndian.PutUint32(out, uint32(40+len(body)))
	binary.NativeEndian.PutUint32(out[4:], op)
	binary.NativeEndian.PutUint64(out[8:], 7)
	binary.NativeEndian.PutUint64(out[16:], node)
	return append(out, body...)
}

// client asks the folder's process.
type client struct {
	t   *testing.T
	ask func([]byte) []byte
}

func (c client) do(op uint32, node uint64, body []byte) ([]byte, syscall.Errno) {
	c.t.Helper()
	answer := c.ask(request(op, node, body))
	if len(answer) < 16 {
		c.t.Fatalf("operation %d: an answer of %d bytes", op, len(answer))
	}
	return answer[16:], syscall.Errno(-int32(binary.NativeEndian.Uint32(answer[4:])))
}

// lookup finds a name in the folder that node is.
func (c client) lookup(node uint64, name string) (uint64, syscall.Errno) {
	c.t.Helper()
	body, errno := c.do(opLookup, node, append([]byte(name), 0))
	if errno != 0 {
		return 0, errno
	}
	return binary.NativeEndian.Uint64(body), 0
}

func (c client) mkdir(node uint64, name string) syscall.Errno {
	c.t.Helper()
	mode := make([]byte, 8)
	binary.NativeEndian.PutUint32(mode, 0o755)
	_, errno := c.do(opMkdir, node, append(append(mode, name...), 0))
	return errno
}

// open opens for reading and returns the file's number.
func (c client) open(node uint64) (uint64, syscall.Errno) {
	c.t.Helper()
	body, errno := c.do(opOpen, node, make([]byte, 8))
	if errno != 0 {
		return 0, errno
	}
	return binary.NativeEndian.Uint64(body), 0
}

// create opens for reading what has the name, or makes it.
func (c client) create(node uint64, name string) syscall.Errno {
	c.t.Helper()
	in := make([]byte, 16)
	binary.NativeEndian.PutUint32(in[4:], 0o644)
	_, errno := c.do(opCreate, node, append(append(in, name...), 0))
	return errno
}

func (c client) begin() client {
	c.t.Helper()
	init := make([]byte, 64)
	binary.NativeEndian.PutUint32(init, 7)
	binary.NativeEndian.PutUint32(init[4:], 36)
	if _, errno := c.do(opInit, 0, init); errno != 0 {
		c.t.Fatalf("init: %v", errno)
	}
	return c
}

// confined is served by the folder's own process.
func confined(t *testing.T, f Folder) client {
	t.Helper()
	conn, err := Start(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client{t, func(r []byte) []byte { return exchange(t, conn, r) }}.begin()
}

func exchange(t *testing.T, conn net.Conn, request []byte) []byte {
	t.Helper()
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	answer, err := wire.ReadFileFrame(conn)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// free is served by this process, which sees all of the host.
func free(t *testing.T, folder string) client {
	t.Helper()
	answer, err := answerer(folder)
	if err != nil {
		t.Fatal(err)
	}
	return client{t, answer}.begin()
}

// TestLinkLeadsNowhere changes a folder that the guest knows into a link out
// of the share, as a guest could while the host looks at it.
func TestLinkLeadsNowhere(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(*testing.T, string) client
		leads bool
	}{
		{"in its own process", func(t *testing.T, dir string) client { return confined(t, Folder{Path: dir, ReadOnly: Nothing}) }, false},
		{"in one that sees the host", free, true}, // what the process is for
	} {
		t.Run(c.name, func(t *testing.T) {
			shared, outside := t.TempDir(), t.TempDir()
			inner := filepath.Join(shared, "inner")
			if err := os.Mkdir(inner, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(outside, "secret"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			client := c.serve(t, shared)
			node, errno := client.lookup(rootNode, "inner")
			if errno != 0 {
				t.Fatal(errno)
			}
			if err := os.Remove(inner); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, inner); err != nil {
				t.Fatal(err)
			}
			if _, errno := client.lookup(node, "secret"); (errno == 0) != c.leads {
				t.Errorf("the link leads out: %v (%v)", errno == 0, errno)
			}
		})
	}
}

func TestReadOnly(t *testing.T) {
	for _, c := range []struct {
		what       ReadOnly
		top, inner syscall.Errno
	}{
		{Nothing, 0, 0},
		{Top, syscall.EROFS, 0},
		{Everything, syscall.EROFS, syscall.EROFS},
	} {
		t.Run(string(c.what), func(t *testing.T) {
			shared := t.TempDir()
			mounted := filepath.Join(shared, "mounted")
			if err := os.Mkdir(mounted, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mount("none", mounted, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(mounted, syscall.MNT_DETACH) })
			client := confined(t, Folder{Path: shared, ReadOnly: c.what})
			if errno := client.mkdir(rootNode, "new"); errno != c.top {
				t.Errorf("write in the folder: got %v, want %v", errno, c.top)
			}
			node, errno := client.lookup(rootNode, "mounted")
			if errno != 0 {
				t.Fatal(errno)
			}
			if errno := client.mkdir(node, "new"); errno != c.inner {
				t.Errorf("write in what is mounted there: got %v, want %v", errno, c.inner)
			}
		})
	}
}

func TestFollow(t *testing.T) {
	for _, follow := range []bool{true, false} {
		shared := t.TempDir()
		at := filepath.Join(shared, "later")
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		// A mount spreads from one that is shared.
		if err := syscall.Mount(shared, shared, "", syscall.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(shared, syscall.MNT_DETACH) })
		if err := syscall.Mount("", shared, "", syscall.MS_SHARED, ""); err != nil {
			t.Fatal(err)
		}
		client := confined(t, Folder{Path: shared, ReadOnly: Nothing, Follow: follow})
		if err := syscall.Mount("none", at, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(at, syscall.MNT_DETACH) })
		if err := os.Mkdir(filepath.Join(at, "seen"), 0o755); err != nil {
			t.Fatal(err)
		}
		node, errno := client.lookup(rootNode, "later")
		if errno != 0 {
			t.Fatal(errno)
		}
		if _, errno := client.lookup(node, "seen"); (errno == 0) != follow {
			t.Errorf("follow %v: what was mounted later is seen: %v", follow, errno == 0)
		}
	}
}

// TestDevicesStayShut: the guest's kernel asks for no device, but a guest may,
// and would have the node's.
func TestDevicesStayShut(t *testing.T) {
	const null = 1<<8 | 3
	shared := t.TempDir()
	for _, dir := range []string{"mounted", "later"} {
		if err := os.Mkdir(filepath.Join(shared, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fill := func(dir string) {
		t.Helper()
		if err := syscall.Mknod(filepath.Join(dir, "null"), syscall.S_IFCHR|0o666, null); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mount := func(dir string) {
		t.Helper()
		if err := syscall.Mount("none", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		fill(dir)
	}
	if err := syscall.Mount(shared, shared, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(shared, syscall.MNT_DETACH) })
	if err := syscall.Mount("", shared, "", syscall.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	fill(shared)
	mount(filepath.Join(shared, "mounted"))
	client := confined(t, Folder{Path: shared, ReadOnly: Nothing, Follow: true})
	mount(filepath.Join(shared, "later")) // with none of the process's precautions
	for _, dir := range []string{"", "mounted", "later"} {
		node := uint64(rootNode)
		var errno syscall.Errno
		if dir != "" {
			if node, errno = client.lookup(node, dir); errno != 0 {
				t.Fatal(errno)
			}
		}
		for name, want := range map[string]syscall.Errno{"null": syscall.EACCES, "file": 0} {
			file, errno := client.lookup(node, name)
			if errno != 0 {
				t.Fatal(errno)
			}
			if _, errno := client.open(file); errno != want {
				t.Errorf("open %s in %q: got %v, want %v", name, dir, errno, want)
			}
			if errno := client.create(node, name); errno != want {
				t.Errorf("create %s in %q: got %v, want %v", name, dir, errno, want)
			}
		}
	}
}

// TestNoIoctl: FIONREAD's (TIOCINQ's) argument is where the answer goes, in the process that
// makes the call.
func TestNoIoctl(t *testing.T) {
	shared := t.TempDir()
	if err := os.WriteFile(filepath.Join(shared, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	client := confined(t, Folder{Path: shared, ReadOnly: Nothing})
	node, errno := client.lookup(rootNode, "file")
	if errno != 0 {
		t.Fatal(errno)
	}
	file, errno := client.open(node)
	if errno != 0 {
		t.Fatal(errno)
	}
	in := make([]byte, 32)
	binary.NativeEndian.PutUint64(in, file)
	binary.NativeEndian.PutUint32(in[12:], unix.TIOCINQ)
	if _, errno := client.do(opIoctl, node, in); errno != syscall.ENOTTY {
		t.Errorf("got %v, want %v", errno, syscall.ENOTTY)
	}
}

func TestMissingFolderIsNamed(t *testing.T) {
	if conn, err := Start(t.Context(), Folder{Path: "/no/such/folder", ReadOnly: Nothing}); err == nil {
		conn.Close()
		t.Error("a folder that does not exist is served")
	}
}
