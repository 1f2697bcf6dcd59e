package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	containerd "github.com/containerd/containerd/v2/client"
)

// EnsurePause puts the image ref, made of the engine's pause program, into
// the node's store unless one made of the same program is there.
func EnsurePause(ctx context.Context, client *containerd.Client, engine, ref string) error {
	program, err := os.ReadFile(filepath.Join(engine, "pause"))
	if err != nil {
		return fmt.Errorf("read the pause program (make it with: make engine): %w", err)
	}
	img, err := fromFiles([]file{{path: "pause", mode: 0o755, data: program}}, config{Entrypoint: []string{"/pause"}, User: "65535:65535"})
	if err != nil {
		return fmt.Errorf("make pause image: %w", err)
	}
	return store(ctx, client, ref, img, map[string]string{"io.cri-containerd.pinned": "pinned"})
}
