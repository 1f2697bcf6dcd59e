// Package store is the image store of a node: the part of its containerd that
// the CRI shows to the kubelet. What is put there can be named by pods at
// once, without a registry.
//
// A Store is a client: Open it, use it from any goroutine, Close it.
package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"google.golang.org/grpc"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// namespace is the CRI's part of containerd's store.
	namespace = "k8s.io"
	// snapshotter keeps unpacked images, as containerd.toml says.
	snapshotter = "overlayfs"

	// labelPinned keeps the kubelet from removing an image when disk is short,
	// labelNeeded people, too.
	labelPinned = "io.cri-containerd.pinned"
	labelNeeded = "redoubt.dev/needed"
	// LabelRecipe says what an image was made from, so that it is not made
	// again.
	LabelRecipe = "redoubt.dev/recipe"
)

// ErrNotFound says that the store has no image of that name.
var ErrNotFound = errors.New("no such image")

// Store is the image store of one node.
type Store struct {
	client *containerd.Client
	images runtime.ImageServiceClient
	pods   runtime.RuntimeServiceClient
}

// Open connects to the containerd at socket. It must be running.
func Open(ctx context.Context, socket string) (*Store, error) {
	if _, err := os.Stat(socket); err != nil {
		return nil, fmt.Errorf("the node's container runtime does not run (no socket at %s); start the platform with: redoubt up", socket)
	}
	client, err := containerd.New(socket, containerd.WithTimeout(10*time.Second))
	if err != nil {
		return nil, fmt.Errorf("connect to the node's container runtime at %s (is the platform up?): %w", socket, err)
	}
	s := New(client)
	if _, err := client.Version(s.scope(ctx)); err != nil {
		return nil, errors.Join(fmt.Errorf("the node's container runtime at %s does not answer; see: redoubt status: %w", socket, err), client.Close())
	}
	return s, nil
}

// New uses a connection that the caller keeps and closes.
func New(client *containerd.Client) *Store {
	conn := client.Conn().(grpc.ClientConnInterface) // what it is behind a socket
	return &Store{
		client: client,
		images: runtime.NewImageServiceClient(conn),
		pods:   runtime.NewRuntimeServiceClient(conn),
	}
}

// Close ends the connection.
func (s *Store) Close() error { return s.client.Close() }

// scope makes requests in ctx mean the CRI's part of the store.
func (s *Store) scope(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, namespace)
}

// Name completes the name of an image as the kubelet does: "busybox" is
// docker.io/library/busybox:latest.
func Name(name string) (string, error) {
	ref, err := reference.ParseDockerRef(name)
	if err != nil {
		return "", fmt.Errorf("%q is no name for an image: use HOST/PATH:TAG in lower case, such as localhost/hello:latest", name)
	}
	return ref.String(), nil
}

// TagName completes the name for an image to be stored, which may not
// contain a digest: the content decides that.
func TagName(name string) (string, error) {
	full, err := Name(name)
	if err != nil {
		return "", err
	}
	ref, err := reference.ParseDockerRef(full)
	if err != nil {
		return "", err
	}
	if _, ok := ref.(reference.Digested); ok {
		return "", fmt.Errorf("%q names a digest, which follows from the content: use a tag", name)
	}
	return full, nil
}

func notFound(name string, err error) error {
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%w: %s; see what there is with: redoubt image ls", ErrNotFound, name)
	}
	return fmt.Errorf("look up image %s: %w", name, err)
}
