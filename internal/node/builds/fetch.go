package builds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/image/layer"
	"redoubt.dev/redoubt/internal/image/oci"
	"redoubt.dev/redoubt/internal/image/store"
	"redoubt.dev/redoubt/internal/image/tarfile"
	"redoubt.dev/redoubt/runtimes"
)

const (
	// maxResult is the longest tar file that a build may hand over, in bytes, and
	// patience how long it may take to: it is ready, and on this node.
	maxResult = 600 << 20
	patience  = time.Minute
)

// limits bound what the tar file holds. Names are in memory while an image is made.
var limits = tarfile.Limits{Entries: 200_000, Bytes: 512 << 20, Names: 32 << 20}

// baseMissing says that the runtime's own image is not there.
type baseMissing struct{ runtime string }

func (m *baseMissing) Error() string {
	return fmt.Sprintf("the node has no image of the runtime %s; build it there with: redoubt function prepare %s", m.runtime, m.runtime)
}

// store makes an image of what the pod built.
func (b *Builds) store(ctx context.Context, pod *corev1.Pod) error {
	lang, err := runtimes.Get(pod.Labels[kubeless.BuildRuntimeLabel])
	if err != nil {
		return fmt.Errorf("nothing is built for the runtime %q", pod.Labels[kubeless.BuildRuntimeLabel])
	}
	images, err := store.Open(ctx, b.socket)
	if err != nil {
		return err
	}
	defer images.Close()
	base, err := images.Read(ctx, lang.Image)
	if errors.Is(err, store.ErrNotFound) {
		return &baseMissing{lang.Name}
	}
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", ".built-*.tar")
	if err != nil {
		return fmt.Errorf("make temporary file: %w", err)
	}
	defer f.Close()
	if err := errors.Join(os.Remove(f.Name()), fetch(ctx, net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(kubeless.BuildPort)), f)); err != nil {
		return fmt.Errorf("fetch what was built: %w", err)
	}
	image, file, err := over(base, f, map[string]string{"out": lang.Builds().Into, "source": runtimes.SourceFolder})
	if err != nil {
		return fmt.Errorf("what was built cannot be stored: %w", err)
	}
	defer file.Close()
	return images.Add(ctx, kubeless.BuiltImage(pod.Namespace, pod.Labels[kubeless.BuildLabel]), image, store.Options{})
}

// fetch copies the result from address to out.
func fetch(ctx context.Context, address string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	client := &http.Client{
		Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
		// Who answers is somebody's code: it must not lead the node elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the build's sandbox answered %s", resp.Status)
	}
	n, err := io.Copy(out, io.LimitReader(resp.Body, maxResult+1))
	if err == nil && n > maxResult {
		err = fmt.Errorf("it has more than %d bytes", maxResult)
	}
	return err
}

// over is base with what f holds in folders, each below the one that it becomes;
// one that becomes none is left out. The closer ends the image's use.
func over(base *oci.Image, f *os.File, folders map[string]string) (*oci.Image, io.Closer, error) {
	tree := layer.New()
	for from, into := range folders {
		if into == "" {
			continue
		}
		if err := tree.Foreign(into, f, from, limits); err != nil {
			return nil, nil, err
		}
	}
	made, file, err := tree.Write("", time.Unix(0, 0))
	if err != nil {
		return nil, nil, err
	}
	image, err := oci.New(base.Settings, append(base.Layers[:len(base.Layers):len(base.Layers)], made)...)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return image, file, nil
}
