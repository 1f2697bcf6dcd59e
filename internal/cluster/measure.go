package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/image/build"
	"redoubt.dev/redoubt/internal/image/store"
	"redoubt.dev/redoubt/internal/instance"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/probe/measure"
)

// Prober is what measures classes on an instance that runs, with so many pods at a
// time. It puts the probe's image into the node's store.
func Prober(ctx context.Context, inst instance.Instance, atOnce int, progress build.Progress) (measure.Probe, error) {
	p := measure.Probe{Room: make(chan struct{}, atOnce)}
	recipe, err := image.Probe()
	if err != nil {
		return p, err
	}
	images, err := store.Open(ctx, inst.ContainerdSocket())
	if err != nil {
		return p, err
	}
	if err := errors.Join(image.Ensure(ctx, images, recipe, progress), images.Close()); err != nil {
		return p, err
	}
	p.Image = recipe.Name
	if p.Programs, err = sandboxPrograms(); err != nil {
		return p, err
	}
	if p.Config, err = kube.Config(inst.Kubeconfig(), "redoubt-measure"); err != nil {
		return p, err
	}
	if p.Cluster, err = kubernetes.NewForConfig(p.Config); err != nil {
		return p, err
	}
	kinds := runtime.NewScheme()
	if err := serving.AddToScheme(kinds); err != nil {
		return p, err
	}
	p.Services, err = client.New(p.Config, client.Options{Scheme: kinds})
	return p, err
}

// sandboxPrograms stands for the content of all programs that run pods here, the
// guest, and the probe: another version of any is another answer.
func sandboxPrograms() (string, error) {
	engine, err := instance.EngineDir()
	if err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	beside := filepath.Dir(self)
	files := []string{
		filepath.Join(engine, "runc"), filepath.Join(engine, "runsc"), filepath.Join(engine, "containerd-shim-runsc-v1"),
		filepath.Join(beside, "redoubt-probe"), filepath.Join(beside, microVMShim),
		filepath.Join(beside, microVMImage), filepath.Join(beside, filepath.Dir(microVMImage), "initramfs"),
	}
	if qemu, err := exec.LookPath("qemu-system-x86_64"); err == nil {
		files = append(files, qemu)
	}
	sum := sha256.New()
	for _, file := range files {
		if err := add(sum, file); err != nil && !errors.Is(err, os.ErrNotExist) { // some classes need not be there
			return "", fmt.Errorf("read the version of %s: %w", file, err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}

func add(sum io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(sum, f)
	return err
}

// measure finds out, once the instance is ready, what its classes can do that
// were not measured with these versions. What fails is tried again for an hour;
// the instance is none the worse for it.
func (b *boot) measure(ctx context.Context) {
	for pause := time.Minute; ; pause *= 2 {
		err := b.measureOnce(ctx)
		if ctx.Err() != nil || err == nil {
			return
		}
		fmt.Fprintf(b.out, "         What classes can do is not measured: %v\n", err)
		if pause > 32*time.Minute {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (b *boot) measureOnce(ctx context.Context) error {
	const few = 6 // somebody may be waiting for something else
	p, err := Prober(ctx, b.inst, few, func(string) {})
	if err != nil {
		return err
	}
	if err := p.CleanUp(ctx); err != nil {
		return err
	}
	return p.Each(ctx, func(class *nodev1.RuntimeClass, node *corev1.Node) bool {
		known, err := measure.Of(class)
		m := known[node.Name]
		return err != nil || m.Versions != p.Versions(node) || m.Figures == nil
	}, func(string, string) {})
}
