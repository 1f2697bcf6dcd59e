package revision

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

const digest = "docker.io/library/busybox@sha256:0123456789012345678901234567890123456789012345678901234567890123"

func TestPinned(t *testing.T) {
	known := []serving.ContainerStatus{{Name: "user-container", ImageDigest: digest}}
	for _, test := range []struct {
		name, image string
		policy      corev1.PullPolicy
		known       []serving.ContainerStatus
		wantImage   string
		wantPolicy  corev1.PullPolicy
	}{
		{"first instance", "busybox:1", "", nil, "busybox:1", ""},
		{"later instance", "busybox:1", corev1.PullAlways, known, digest, corev1.PullAlways},
		{"another container", "busybox:1", "", []serving.ContainerStatus{{Name: "other", ImageDigest: digest}}, "busybox:1", ""},
		{"loaded", "my/app:1", "", []serving.ContainerStatus{{Name: "user-container", ImageDigest: "docker.io/my/app:1"}}, "my/app:1", ""},
		{"local", "localhost/hello:latest", "", known, "localhost/hello:latest", corev1.PullIfNotPresent},
		{"local with a policy", "localhost/hello:latest", corev1.PullNever, known, "localhost/hello:latest", corev1.PullNever},
		{"registry on this machine", "localhost:5000/hello", "", nil, "localhost:5000/hello", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := corev1.Container{Name: "user-container", Image: test.image, ImagePullPolicy: test.policy}
			image, policy := pinned(c, test.known)
			if image != test.wantImage || policy != test.wantPolicy {
				t.Errorf("got %q, %q; want %q, %q", image, policy, test.wantImage, test.wantPolicy)
			}
		})
	}
}

func TestResolveWaitsForAllContainers(t *testing.T) {
	rev := &serving.Revision{}
	pod := corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
		{Name: "b", Image: "localhost/hello:v1", ImageID: "sha256:01"},
		{Name: "a", Image: "busybox:1"},
	}}}
	resolve(rev, []corev1.Pod{pod})
	if rev.Status.ContainerStatuses != nil {
		t.Errorf("resolved %v before all images are known", rev.Status.ContainerStatuses)
	}
	pod.Status.ContainerStatuses[1].ImageID = digest
	resolve(rev, []corev1.Pod{pod})
	want := []serving.ContainerStatus{{Name: "a", ImageDigest: digest}, {Name: "b", ImageDigest: "localhost/hello@sha256:01"}}
	got := rev.Status.ContainerStatuses
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
}

// An image that was loaded under the name of one in a registry has an id that the
// registry does not know.
func TestResolveALoadedImage(t *testing.T) {
	got := digests([]corev1.ContainerStatus{{Name: "a", Image: "docker.io/my/app:1", ImageID: "sha256:01"}})
	if len(got) != 1 || got[0].ImageDigest != "docker.io/my/app:1" {
		t.Errorf("got %v", got)
	}
}

func TestRepository(t *testing.T) {
	for image, want := range map[string]string{
		"busybox": "busybox", "busybox:1": "busybox", "a:5000/b": "a:5000/b", "a:5000/b:1": "a:5000/b", digest: "docker.io/library/busybox",
	} {
		if got := repository(image); got != want {
			t.Errorf("repository(%q) = %q, want %q", image, got, want)
		}
	}
}
