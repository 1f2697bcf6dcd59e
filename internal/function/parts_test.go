package function

import (
	"strings"
	"testing"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/runtimes"
	"redoubt.dev/redoubt/runtimes/source"
)

// large is a function whose source is in two ConfigMaps, changed.
func large(change func(fn *kubeless.Function)) *kubeless.Function {
	return dependent(func(fn *kubeless.Function) {
		fn.Name, fn.Namespace, fn.Spec.Deps = "f", "ns", ""
		fn.Spec.Function, fn.Spec.FunctionContentType = "b-part\na-part\n", "configmap+zip"
		fn.Spec.Checksum = "sha256:" + strings.Repeat("0", 64)
		change(fn)
	})
}

// What fits into a function's ConfigMaps is what a build takes.
func TestPartsHoldTheLongestArchive(t *testing.T) {
	if all := kubeless.MaxParts * kubeless.MaxPart; all != source.MaxArchive {
		t.Errorf("the parts hold %d bytes, and an archive has up to %d", all, source.MaxArchive)
	}
}

// The build of a large source reads its parts in their order, whatever their
// names are; what runs it has it in its image.
func TestALargeSourceIsBuilt(t *testing.T) {
	for runtime, image := range map[string]string{"ruby": "localhost/redoubt/source-build:latest", "python3": "localhost/redoubt/python3-build:latest"} {
		fn := large(func(fn *kubeless.Function) { fn.Spec.Runtime = runtime })
		p, lang, code := planOf(t, fn)
		pod, run := buildPod(fn, p, code), template(fn, lang, code, built{image: "made"}).Spec.PodFields
		parts := pod.Spec.Volumes[0].Projected.Sources
		if len(parts) != 2 || parts[0].ConfigMap.Name != "b-part" || parts[0].ConfigMap.Items[0].Path != "000" || parts[1].ConfigMap.Name != "a-part" {
			t.Errorf("%s: the parts are %+v", runtime, parts)
		}
		env := map[string]string{}
		for _, e := range pod.Spec.Containers[0].Env {
			env[e.Name] = e.Value
		}
		if pod.Spec.Containers[0].Image != image || env[source.FormVariable] != "zip" || env[source.ChecksumVariable] != fn.Spec.Checksum || env[source.MainVariable] != "app"+lang.Extension {
			t.Errorf("%s is built in %s with %v", runtime, pod.Spec.Containers[0].Image, env)
		}
		if run.Containers[0].Image != "made" || len(run.Volumes) != 0 || len(run.Containers[0].VolumeMounts) != 0 {
			t.Errorf("%s runs as %+v", runtime, run)
		}
	}
}

func TestWhatALargeSourceDependsOn(t *testing.T) {
	first := keyOf(t, large(func(*kubeless.Function) {}))
	for title, tc := range map[string]struct {
		change func(fn *kubeless.Function)
		same   bool
	}{
		"where the parts are": {func(fn *kubeless.Function) { fn.Spec.Function = "c-part" }, true},
		"what is in them":     {func(fn *kubeless.Function) { fn.Spec.Checksum = "sha256:" + strings.Repeat("1", 64) }, false},
		"how it is packed":    {func(fn *kubeless.Function) { fn.Spec.FunctionContentType = "configmap+compressedtar" }, false},
	} {
		if got := keyOf(t, large(tc.change)); (got == first) != tc.same {
			t.Errorf("%s: the keys are %s and %s", title, first, got)
		}
	}
}

func TestLargeSourcesAreRefused(t *testing.T) {
	for says, change := range map[string]func(fn *kubeless.Function){
		"may name 1 to 32":        func(fn *kubeless.Function) { fn.Spec.Function = strings.Repeat("part\n", 33) },
		"names 0 ConfigMaps":      func(fn *kubeless.Function) { fn.Spec.Function = "\n" },
		"no name of a ConfigMap":  func(fn *kubeless.Function) { fn.Spec.Function = "../part" },
		"put them into the archi": func(fn *kubeless.Function) { fn.Spec.Deps = "requests" },
		"leave out the image x":   func(fn *kubeless.Function) { fn.Spec.Deployment.Spec.Template.Spec.Containers[0].Image = "x" },
	} {
		if _, err := NeedsBuild(large(change)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	lang, err := runtimes.Get("python3")
	if err != nil {
		t.Fatal(err)
	}
	fn := large(func(fn *kubeless.Function) { fn.Annotations = map[string]string{kubeless.PoolAnnotation: "1"} })
	if err := checkPool(fn, lang); err == nil || !strings.Contains(err.Error(), "this one is in ConfigMaps") {
		t.Errorf("a pool: %v", err)
	}
}
