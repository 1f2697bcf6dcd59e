package function

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/runtimes"
	"redoubt.dev/redoubt/runtimes/source"
)

// parts are a source that is above what a Function takes: an archive in ConfigMaps
// of the function's namespace. The sandbox of its build reads them; who makes it
// does not.
type parts struct {
	names          []string
	form, checksum string
	main           string
}

// newParts are those of fn, which has some.
func newParts(fn *kubeless.Function, lang runtimes.Runtime) (*parts, error) {
	_, form, _ := strings.Cut(fn.Spec.FunctionContentType, "+")
	p := &parts{names: kubeless.Parts(fn), form: form, checksum: fn.Spec.Checksum, main: kubeless.Module(fn) + lang.Extension}
	if n := len(p.names); n == 0 || n > kubeless.MaxParts {
		return nil, fmt.Errorf("spec.function: names %d ConfigMaps, and may name 1 to %d", n, kubeless.MaxParts)
	}
	for _, name := range p.names {
		if wrong := validation.IsDNS1123Subdomain(name); wrong != nil {
			return nil, fmt.Errorf("spec.function: %.60q is no name of a ConfigMap: %s", name, wrong[0])
		}
	}
	switch image := container(fn).Image; {
	case image != "":
		return nil, fmt.Errorf("spec.function: a source in ConfigMaps becomes a layer of the runtime's own image; leave out the image %s, or put the source into it", image)
	case fn.Spec.Deps != "":
		return nil, fmt.Errorf("spec.deps: put them into the archive, which is in ConfigMaps")
	}
	return p, nil
}

// volume has the parts as files that sort in their order.
func (p *parts) volume() corev1.Volume {
	all := &corev1.ProjectedVolumeSource{}
	for n, name := range p.names {
		all.Sources = append(all.Sources, corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: name},
			Items:                []corev1.KeyToPath{{Key: kubeless.PartKey, Path: fmt.Sprintf("%03d", n)}},
		}})
	}
	return corev1.Volume{Name: SourceVolume, VolumeSource: corev1.VolumeSource{Projected: all}}
}

// env tells the build what they are, and is empty where there are none.
func (p *parts) env() []corev1.EnvVar {
	if p == nil {
		return nil
	}
	return []corev1.EnvVar{
		{Name: source.FormVariable, Value: p.form},
		{Name: source.ChecksumVariable, Value: p.checksum},
		{Name: source.MainVariable, Value: p.main},
	}
}
