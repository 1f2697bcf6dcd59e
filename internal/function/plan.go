package function

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/runtimes"
	"redoubt.dev/redoubt/runtimes/source"
)

// plan is what is to be built for a function. Functions of a namespace with the
// same key share the result.
type plan struct {
	build *runtimes.Build
	key   string
	env   []corev1.EnvVar
}

// NeedsBuild says whether something is built for fn before it runs.
func NeedsBuild(fn *kubeless.Function) (bool, error) {
	lang, err := runtimes.Get(fn.Spec.Runtime)
	if err != nil {
		return false, err
	}
	code, files, err := codeOf(fn, lang)
	if err != nil {
		return false, err
	}
	p, err := planFor(fn, lang, code, files)
	return p != nil, err
}

// planFor is nil where nothing is to be built: a function without a file of
// dependencies needs none, and one with an image of its own brings them.
func planFor(fn *kubeless.Function, lang runtimes.Runtime, code code, files []source.File) (*plan, error) {
	own := container(fn)
	if own.Image != "" {
		if fn.Spec.Deps != "" {
			return nil, fmt.Errorf("spec.deps: dependencies are installed beside the runtime's own image; leave out either them or the image %s, and put them into it", own.Image)
		}
		return nil, nil
	}
	b := lang.Build
	if code.parts != nil {
		b = lang.Builds()
	} else if b == nil || !b.Whole && !slices.ContainsFunc(files, func(f source.File) bool { return f.Path == b.Manifest }) {
		return nil, nil
	}
	p := &plan{build: b}
	for _, e := range own.Env {
		if b.Takes(e.Name) {
			p.env = append(p.env, e)
		}
	}
	read := slices.DeleteFunc(slices.Clone(files), func(f source.File) bool {
		return !b.Whole && f.Path != b.Manifest && !slices.Contains(b.Others, f.Path)
	})
	slices.SortFunc(read, func(x, y source.File) int { return slices.Compare([]byte(x.Path), []byte(y.Path)) })
	handler := ""
	if b.Whole {
		handler = fn.Spec.Handler // it is compiled in
	}
	// The class is part of it: what a weaker sandbox has made is not taken over
	// into a stronger one.
	pod := fn.Spec.Deployment.Spec.Template.Spec
	whole, err := json.Marshal([]any{fn.Spec.Runtime, fn.Spec.RuntimeClassName, handler, pod.NodeSelector, p.env, read, code.parts.env()})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(whole)
	p.key = hex.EncodeToString(sum[:16])
	return p, nil
}
