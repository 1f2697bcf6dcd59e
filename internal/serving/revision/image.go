package revision

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// localNames begin the names of images that are on the node and in no
// registry: by convention localhost, and the names that Knative's users give
// images which they load into a node (config-deployment of Knative).
var localNames = []string{"localhost/", "dev.local/", "ko.local/", "kind.local/"}

func isLocal(image string) bool {
	return slices.ContainsFunc(localNames, func(prefix string) bool { return strings.HasPrefix(image, prefix) })
}

// pinned is the image of c and how to pull it. Once an instance has run, the
// others get exactly its image, whatever the tag stands for by then. A local
// image is not looked for in a registry unless the owner says so.
func pinned(c corev1.Container, known []serving.ContainerStatus) (string, corev1.PullPolicy) {
	if isLocal(c.Image) {
		if c.ImagePullPolicy == "" {
			return c.Image, corev1.PullIfNotPresent
		}
		return c.Image, c.ImagePullPolicy
	}
	for _, status := range known {
		if status.Name == c.Name && strings.Contains(status.ImageDigest, "@") {
			return status.ImageDigest, c.ImagePullPolicy
		}
	}
	return c.Image, c.ImagePullPolicy
}

// resolve records what the images' tags stood for, as the first instance that
// ran them says: the node has asked the registry already, with the owner's
// credentials, which no controller needs to read for it.
func resolve(rev *serving.Revision, pods []corev1.Pod) {
	s := &rev.Status
	for _, pod := range pods {
		if len(s.ContainerStatuses) == 0 {
			s.ContainerStatuses = digests(pod.Status.ContainerStatuses)
		}
		if len(s.InitContainerStatuses) == 0 {
			s.InitContainerStatuses = digests(pod.Status.InitContainerStatuses)
		}
	}
}

// digests are nil until the digests of all containers are known.
func digests(statuses []corev1.ContainerStatus) []serving.ContainerStatus {
	var found []serving.ContainerStatus
	for _, c := range statuses {
		if c.ImageID == "" {
			return nil
		}
		digest := c.ImageID
		switch {
		case strings.Contains(digest, "@"):
		case isLocal(c.Image):
			digest = repository(c.Image) + "@" + digest // an image that was loaded has an id alone
		default:
			digest = c.Image // so has this, and no registry knows the id
		}
		found = append(found, serving.ContainerStatus{Name: c.Name, ImageDigest: digest})
	}
	slices.SortFunc(found, func(a, b serving.ContainerStatus) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// repository is an image's name without tag and digest.
func repository(image string) string {
	name, _, _ := strings.Cut(image, "@")
	if at := strings.LastIndexByte(name, ':'); at > strings.LastIndexByte(name, '/') {
		name = name[:at]
	}
	return name
}
