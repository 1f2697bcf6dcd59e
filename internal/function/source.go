package function

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/runtimes"
	"redoubt.dev/redoubt/runtimes/source"
)

// errInParts is that of a source that is in ConfigMaps: what unpacks it is a build.
var errInParts = errors.New("spec.function: the source is in ConfigMaps")

// Source is the function's files as the runtime reads them, within the limits.
func Source(fn *kubeless.Function, limits source.Limits) ([]source.File, error) {
	if kubeless.Parts(fn) != nil {
		return nil, errInParts
	}
	lang, err := runtimes.Get(fn.Spec.Runtime)
	if err != nil {
		return nil, err
	}
	data := []byte(fn.Spec.Function)
	encoding, form, _ := strings.Cut(fn.Spec.FunctionContentType, "+")
	if encoding == "base64" {
		if data, err = base64.StdEncoding.DecodeString(fn.Spec.Function); err != nil {
			return nil, fmt.Errorf("spec.function: not base64: %w", err)
		}
	}
	if want := fn.Spec.Checksum; want != "" {
		sum := sha256.Sum256(data)
		if got := "sha256:" + hex.EncodeToString(sum[:]); got != want {
			return nil, fmt.Errorf("spec.checksum: the source's is %s, not %s", got, want)
		}
	}
	files, err := source.Files(source.Form(form), data, kubeless.Module(fn)+lang.Extension, limits)
	if err != nil {
		return nil, fmt.Errorf("spec.function: %w", err)
	}
	return withDependencies(fn, lang, files, limits)
}

// withDependencies puts what the spec says of dependencies where the language
// looks for it.
func withDependencies(fn *kubeless.Function, lang runtimes.Runtime, files []source.File, limits source.Limits) ([]source.File, error) {
	if fn.Spec.Deps == "" {
		return files, nil
	}
	if lang.Build == nil {
		return nil, fmt.Errorf("spec.deps: dependencies of %s are not installed; put what the function needs into its archive", lang.Name)
	}
	files = slices.DeleteFunc(files, func(f source.File) bool { return f.Path == lang.Build.Manifest })
	files = append(files, source.File{Path: lang.Build.Manifest, Data: []byte(fn.Spec.Deps)})
	if err := limits.Hold(files); err != nil {
		return nil, fmt.Errorf("spec.deps: with these, %w", err)
	}
	return files, nil
}

// code is a version of the source as the cluster keeps it: a ConfigMap, whose
// keys cannot be paths, and which path each key has; or parts, which a build
// unpacks.
type code struct {
	name, version string
	data          map[string][]byte
	items         []corev1.KeyToPath
	parts         *parts
}

// codeOf is fn's source, and its files where the Function has them.
func codeOf(fn *kubeless.Function, lang runtimes.Runtime) (code, []source.File, error) {
	if kubeless.Parts(fn) != nil {
		p, err := newParts(fn, lang)
		return code{parts: p}, nil, err
	}
	files, err := Source(fn, source.Small)
	if err != nil {
		return code{}, nil, err
	}
	return newSource(fn, files), files, nil
}

// newSource names a version by what is in it and by the function's own object: what
// was made for one of the same name that was deleted is about to go with that one.
func newSource(fn *kubeless.Function, files []source.File) code {
	c := code{data: map[string][]byte{}}
	for n, f := range files {
		key := "file" + strconv.Itoa(n)
		c.data[key] = f.Data
		c.items = append(c.items, corev1.KeyToPath{Key: key, Path: f.Path})
	}
	whole, err := json.Marshal([]any{fn.UID, files})
	if err != nil {
		panic(err) // paths and bytes
	}
	sum := sha256.Sum256(whole)
	c.version = hex.EncodeToString(sum[:6])
	c.name = nameOfSource(fn.Name, c.version)
	return c
}

func nameOfSource(function, version string) string { return function + "-source-" + version }
