// Package io measures what programs in containers wait for files and for the
// network: a file of the container's root written and read, in order and at
// random, and data exchanged between two pods of one class. The peer is runc.
//
// Nothing is forced to a disk: a root file system goes with its container, and a
// microVM has it in its own memory.
package io

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/image"
	"redoubt.dev/redoubt/internal/image/build"
)

const (
	suite  = "io"
	rounds = 5
	peer   = "runc"
)

//go:embed worker/main.go
var source []byte

// worker is the image of the pods.
var worker = image.Recipe{
	Name: "localhost/bench/io-worker:latest",
	Key:  fmt.Sprintf("%x", sha256.Sum256(source)),
	Make: func(ctx context.Context, progress build.Progress) (*build.Image, error) {
		return build.GoProgram(ctx, ".", "./bench/io/worker", build.Contents{Settings: ocispec.ImageConfig{User: "0"}}, progress)
	},
}

// Run measures every class, with two pods of each.
func Run(ctx context.Context, p *platform.Platform) (results []measure.Result, err error) {
	if err := p.Ensure(ctx, worker); err != nil {
		return nil, err
	}
	classes, err := p.Classes(ctx)
	if err != nil {
		return nil, err
	}
	made := pods{platform: p, of: map[string][]*pod{}}
	defer func() { err = errors.Join(err, made.remove(context.WithoutCancel(ctx))) }()
	for _, class := range classes {
		if err := made.add(ctx, class, 2); err != nil {
			return nil, fmt.Errorf("class %s: %w", class, err)
		}
	}
	taken := map[string]map[string][]float64{}
	err = measure.Interleave(classes, rounds, func(class string, record bool) error {
		took, err := made.once(ctx, class)
		if err != nil || !record {
			return err
		}
		if taken[class] == nil {
			taken[class] = map[string][]float64{}
		}
		for what, ms := range took {
			taken[class][what] = append(taken[class][what], ms)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, class := range classes {
		for _, what := range slices.Sorted(maps.Keys(taken[class])) {
			results = append(results, measure.Of(suite, class, what, "ms", taken[class][what]...))
		}
	}
	measure.Compare(results, peer)
	return results, nil
}

// once has the first pod of a class do everything, the second be its peer.
func (m *pods) once(ctx context.Context, class string) (map[string]float64, error) {
	first, second := m.of[class][0], m.of[class][1]
	files, err := first.ask(ctx, m.platform, "/files")
	if err != nil {
		return nil, err
	}
	network, err := first.ask(ctx, m.platform, "/network?peer="+url.QueryEscape(second.address))
	maps.Copy(files, network)
	return files, err
}
