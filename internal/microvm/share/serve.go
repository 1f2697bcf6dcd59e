package share

import (
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/wire"
)

const (
	// connection is the process's end of it.
	connection = 3
	// maxWrite is how much one request writes or reads at most, in bytes.
	maxWrite = 128 << 10
	// together is how many requests are carried out at once.
	together = 16
	// stale is how long the guest may believe what it was told of a name.
	stale = time.Second
)

// Asked says that this process was started to serve a folder.
func Asked() bool { return os.Args[0] == name }

// Main serves the folder that the arguments name until the connection ends.
func Main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%s is started by the shim, not by hand", name)
	}
	file := os.NewFile(connection, name)
	conn, err := net.FileConn(file)
	if err != nil {
		return err
	}
	file.Close()
	unix.Umask(0) // modes are the guest's
	if err := confine(Folder{Path: args[0], ReadOnly: ReadOnly(args[1]), Follow: args[2] != ""}); err != nil {
		return err
	}
	answer, err := answerer("/")
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte{ready}); err != nil {
		return err
	}
	serve(conn, answer)
	return nil
}

// answerer carries out requests on the folder: it takes one and returns the
// answer, nothing for those that have none.
func answerer(folder string) (func(request []byte) []byte, error) {
	loopback, err := fs.NewLoopbackRoot(folder)
	if err != nil {
		return nil, err
	}
	root := &node{loopback.(*fs.LoopbackNode)}
	timeout := stale
	options := &fs.Options{EntryTimeout: &timeout, AttrTimeout: &timeout}
	options.MaxWrite = maxWrite
	options.Logger = log.New(io.Discard, "", 0) // the guest decides what would be in it
	server := fuse.NewProtocolServer(fs.NewNodeFS(root, options), &options.MountOptions)
	return func(request []byte) []byte {
		out := make([]byte, wire.MaxFileFrame)
		n, status := server.HandleRequest([][]byte{request}, [][]byte{out})
		if !status.Ok() {
			return failure(request, status)
		}
		return out[:n]
	}, nil
}

// failure answers a request that could not be understood.
func failure(request []byte, status fuse.Status) []byte {
	const unique, header = 8, 16 // fuse_in_header's offset, fuse_out_header's size
	out := make([]byte, header)
	binary.NativeEndian.PutUint32(out, header)
	binary.NativeEndian.PutUint32(out[4:], uint32(-int32(status)))
	copy(out[8:], request[unique:unique+8])
	return out
}

// serve answers the requests on conn until it ends.
func serve(conn net.Conn, answer func([]byte) []byte) {
	var (
		writing sync.Mutex // an answer is written whole
		working sync.WaitGroup
		places  = make(chan struct{}, together)
	)
	defer working.Wait()
	defer conn.Close()
	for {
		request, err := wire.ReadFileFrame(conn)
		if err != nil {
			return
		}
		places <- struct{}{}
		working.Go(func() {
			defer func() { <-places }()
			if out := answer(request); len(out) > 0 {
				writing.Lock()
				defer writing.Unlock()
				_, _ = conn.Write(out) // a connection that is gone ends the reading too
			}
		})
	}
}
