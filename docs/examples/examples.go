// Package examples holds the workloads of the talk that Redoubt answers, as
// files which a user can read and apply by hand and the demo applies.
package examples

import (
	_ "embed"
	"regexp"
)

// Pod is the busybox pod, Service the Knative Service helloworld-go, and
// Function the source of the Kubeless function hello.
var (
	//go:embed pod.yaml
	Pod string
	//go:embed service.yaml
	Service string
	//go:embed test.py
	Function string
)

var (
	header       = regexp.MustCompile(`^(#.*\n)+`)
	metadataName = regexp.MustCompile(`(?m)^(  name: )\S+`)
	runtimeClass = regexp.MustCompile(`(?m)^( +runtimeClassName: )\S+`)
)

// InClass is a manifest of this package under another name and in another
// class, without the comment at its top.
func InClass(manifest, name, class string) string {
	manifest = header.ReplaceAllString(manifest, "")
	manifest = metadataName.ReplaceAllString(manifest, "${1}"+name)
	return runtimeClass.ReplaceAllString(manifest, "${1}"+class)
}
