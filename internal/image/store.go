// Package image fills a node's image store without a registry: it builds
// images, brings archives in, and lists and removes what is there.
//
// The store is the containerd's that the CRI uses, so that what is put there
// can be named by pods at once.
package image

import (
	"context"
	"fmt"
	"io"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// managed marks an image as the CRI's, which then shows it to the kubelet.
const managed = "io.cri-containerd.image"

// store puts img into the node's store as ref and unpacks it.
func store(ctx context.Context, client *containerd.Client, ref string, img v1.Image, labels map[string]string) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return fmt.Errorf("image name: %w", err)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(tarball.Write(tag, img, w)) }()
	defer r.Close()
	imported, err := client.Import(ctx, r, containerd.WithIndexName(""))
	if err != nil {
		return fmt.Errorf("import image %s: %w", ref, err)
	}
	all := map[string]string{managed: "managed"}
	for k, v := range labels {
		all[k] = v
	}
	for _, i := range imported {
		i.Labels = all
		if _, err := client.ImageService().Update(ctx, i, "labels"); err != nil {
			return fmt.Errorf("label image %s: %w", ref, err)
		}
		if err := containerd.NewImage(client, i).Unpack(ctx, "overlayfs"); err != nil {
			return fmt.Errorf("unpack image %s: %w", ref, err)
		}
	}
	return nil
}
