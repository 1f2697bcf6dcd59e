package archive

import (
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxNames bounds the names of one image.
const maxNames = 100

// nameOf is the complete name in an index, "" when it holds a tag at most.
func nameOf(desc ocispec.Descriptor) string {
	if name := desc.Annotations[annotationName]; name != "" {
		return name
	}
	name := desc.Annotations[ocispec.AnnotationRefName]
	if !strings.ContainsAny(name, ":/") {
		return ""
	}
	return name
}

// addName adds name as the kubelet would write it: with host and tag. A name
// with a digest is left out unless the digest is the image's: who names a
// digest trusts it, and an archive may say anything.
func (n *Named) addName(name string) error {
	if name == "" {
		return nil
	}
	ref, err := reference.ParseDockerRef(name)
	if err != nil {
		return fmt.Errorf("the archive calls an image %.300q, which is no name of an image: %w", name, err)
	}
	if digested, ok := ref.(reference.Digested); ok && digested.Digest() != n.Manifest.Descriptor.Digest {
		return nil
	}
	if slices.Contains(n.Names, ref.String()) {
		return nil
	}
	if len(n.Names) == maxNames {
		return fmt.Errorf("the archive gives an image more than %d names", maxNames)
	}
	n.Names = append(n.Names, ref.String())
	return nil
}

// checkNames refuses an archive in which a name means two images.
func checkNames(images []Named) error {
	owner := map[string]int{}
	for n, image := range images {
		for _, name := range image.Names {
			if of, ok := owner[name]; ok && of != n {
				return fmt.Errorf("the archive calls two images %s", name)
			}
			owner[name] = n
		}
	}
	return nil
}
