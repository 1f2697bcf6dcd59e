package test

import (
	"fmt"
	"strings"
	"testing"

	"redoubt.dev/redoubt/test/platform"
)

// Files made of objects follow these while a pod runs, in every class.
func TestVolumesFollowInEveryClass(t *testing.T) {
	inEveryClass(t, func(t *testing.T, class, ns string) {
		pod := apply(t, ns, class, "live")
		shared.Kubectl(t, "-n", ns, "patch", "configmap", "live", "-p", `{"data":{"value":"after","more":"new"}}`)
		// The change of the pod itself makes the kubelet look at once.
		shared.Kubectl(t, "-n", ns, "label", "--overwrite", "pod", "live", "value=after")
		platform.Eventually(t, "the files follow", func() error {
			if got := ask(t, pod, "cat /live/value /live/more /podinfo/labels; true"); !strings.Contains(got, "afternewvalue=\"after\"") {
				return fmt.Errorf("they are %q", got)
			}
			return nil
		})
	})
}
