package function

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/runtimes"
	"redoubt.dev/redoubt/runtimes/source"
)

// checkPool refuses a pool for a function that no spare instance could become.
func checkPool(fn *kubeless.Function, lang runtimes.Runtime) error {
	size, err := kubeless.Pool(fn.Annotations)
	if err != nil || size == 0 {
		return err
	}
	refused := func(format string, args ...any) error {
		return fmt.Errorf("metadata.annotations[%s]: "+format+"; or leave the pool out", append([]any{kubeless.PoolAnnotation}, args...)...)
	}
	own := container(fn)
	switch {
	case !lang.Spare:
		return refused("the runtime %s has no spare instances; use python3 or nodejs", lang.Name)
	case kubeless.Parts(fn) != nil:
		return refused("spare instances take a source of up to %d bytes, and this one is in ConfigMaps", source.Small.Bytes)
	case own.Image != "":
		return refused("spare instances run the runtime's own image, not %s; leave the image out", own.Image)
	case slices.ContainsFunc(own.Env, func(e corev1.EnvVar) bool { return strings.Contains(e.Value, "$(") }):
		return refused("variables that are made of others, as $(NAME), cannot be given to an instance that runs; write out their values")
	}
	return nil
}

// withPool are a template's annotations, with the size of fn's pool.
func withPool(fn *kubeless.Function, annotations map[string]string) map[string]string {
	all := maps.Clone(annotations)
	delete(all, kubeless.PoolAnnotation) // that of the function counts, which is checked
	if size, ok := fn.Annotations[kubeless.PoolAnnotation]; ok {
		if all == nil {
			all = map[string]string{}
		}
		all[kubeless.PoolAnnotation] = size
	}
	return all
}

var errOtherSource = errors.New("the function's source is another by now")

// Order is what makes a spare instance one of rev, a revision of fn. It fails
// where rev runs another source than fn has now, as after a rollback.
func Order(fn *kubeless.Function, rev *serving.Revision) (runtimes.Order, error) {
	files, err := Source(fn, source.Small)
	if err != nil {
		return runtimes.Order{}, err
	}
	if !slices.ContainsFunc(rev.Spec.Volumes, newSource(fn, files).isIn) {
		return runtimes.Order{}, errOtherSource
	}
	o := runtimes.Order{Env: map[string]string{}, Files: map[string][]byte{}}
	for _, f := range files {
		o.Files[f.Path] = f.Data
	}
	return o, nil
}

func (c code) isIn(v corev1.Volume) bool {
	return HasSource(v) && v.ConfigMap.Name == c.name
}

// HasSource says whether a volume of a revision has a function's source.
func HasSource(v corev1.Volume) bool {
	return v.Name == SourceVolume && v.ConfigMap != nil
}
