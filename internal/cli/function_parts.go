package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/runtimes/source"
)

// inParts lets fn name the parts of an archive, by what is in it.
func inParts(fn *kubeless.Function, form source.Form, archive []byte) error {
	switch {
	case len(archive) > source.MaxArchive:
		return fmt.Errorf("its archive has %d bytes, and no more than %d are taken; make an image of it and name that with --runtime-image", len(archive), source.MaxArchive)
	case fn.Spec.Deps != "":
		return errors.New("--dependencies is for sources of less than 1 MB; put the file into the source's folder")
	}
	sum := sha256.Sum256(archive)
	digest := hex.EncodeToString(sum[:])
	var names []string
	for n := range slices.Collect(slices.Chunk(archive, kubeless.MaxPart)) {
		names = append(names, fn.Name+"-source-"+digest[:12]+"-"+strconv.Itoa(n))
	}
	fn.Spec.Function = strings.Join(names, "\n")
	fn.Spec.FunctionContentType = kubeless.InConfigMaps + "+" + string(form)
	fn.Spec.Checksum = "sha256:" + digest
	return nil
}

// keepParts makes the ConfigMaps that fn names, which go with it, and removes those
// of its source before.
func (c *connection) keepParts(ctx context.Context, fn *kubeless.Function, archive []byte) error {
	names, immutable := kubeless.Parts(fn), true
	for n, part := range slices.Collect(slices.Chunk(archive, kubeless.MaxPart)) {
		cm := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: fn.Namespace, Name: names[n], Labels: map[string]string{kubeless.PartLabel: fn.Name},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: kubeless.GroupVersion.String(), Kind: "Function", Name: fn.Name, UID: fn.UID}},
			},
			BinaryData: map[string][]byte{kubeless.PartKey: part},
			Immutable:  &immutable,
		}
		if err := c.keepPart(ctx, fn, cm); err != nil {
			return fmt.Errorf("the function is there, and its source is not: store part %d of %d: %w; try again with: redoubt function update %s --from-file FILE", n+1, len(names), err, fn.Name)
		}
	}
	var list corev1.ConfigMapList
	if err := c.List(ctx, &list, client.InNamespace(fn.Namespace), client.MatchingLabels{kubeless.PartLabel: fn.Name}); err != nil {
		return fmt.Errorf("find the source before: %w", err)
	}
	// Who has updated it since has stored another one.
	var now kubeless.Function
	if err := c.Get(ctx, client.ObjectKeyFromObject(fn), &now); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("look whether the source is another by now: %w", err)
	}
	names = append(names, kubeless.Parts(&now)...)
	for _, cm := range list.Items {
		if slices.Contains(names, cm.Name) {
			continue
		}
		if err := c.Delete(ctx, &cm); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("remove the source before: %w", err)
		}
	}
	return nil
}

// keepPart makes one part of fn's source unless it is there. That of a function of
// the same name which was deleted is not: it is about to go with that one.
func (c *connection) keepPart(ctx context.Context, fn *kubeless.Function, part *corev1.ConfigMap) error {
	err := c.Create(ctx, part.DeepCopy(), fieldOwner)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	var there corev1.ConfigMap
	if err := c.Get(ctx, client.ObjectKeyFromObject(part), &there); client.IgnoreNotFound(err) != nil {
		return err
	} else if err == nil {
		if slices.ContainsFunc(there.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == fn.UID }) {
			return nil
		}
		if there.Labels[kubeless.PartLabel] != fn.Name {
			return fmt.Errorf("the ConfigMap %s is there, and is not of this function", part.Name)
		}
		if err := c.Delete(ctx, &there, client.Preconditions{UID: &there.UID}); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return c.Create(ctx, part, fieldOwner)
}
