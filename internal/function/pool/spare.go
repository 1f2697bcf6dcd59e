package pool

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/function"
	"redoubt.dev/redoubt/internal/serving/revision"
	"redoubt.dev/redoubt/runtimes"
)

// newSpare is an instance of rev without what makes it one of rev: source, values
// of the environment, labels and annotations. What is left is its kind, so that a spare
// has the class, image, user and limits that any revision of that kind has.
func newSpare(rev *serving.Revision) *corev1.Pod {
	pod := revision.NewPod(rev.DeepCopy()) // whose volumes are changed below
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; function.HasSource(*v) {
			v.VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
		}
	}
	c := &pod.Spec.Containers[0]
	for i := range c.VolumeMounts {
		if m := &c.VolumeMounts[i]; m.Name == function.SourceVolume {
			m.ReadOnly = false // the server puts the source there
		}
	}
	var kept []corev1.EnvVar
	for _, e := range c.Env {
		if e.Name == "PORT" || e.Name == "FUNC_PORT" || e.ValueFrom != nil {
			kept = append(kept, e)
		}
	}
	c.Env = kept
	spec, err := json.Marshal(pod.Spec)
	if err != nil {
		panic(err) // it came out of JSON
	}
	sum := sha256.Sum256(spec)
	pod.ObjectMeta = metav1.ObjectMeta{
		Namespace:       rev.Namespace,
		Labels:          map[string]string{kubeless.SpareLabel: hex.EncodeToString(sum[:16])},
		OwnerReferences: pod.OwnerReferences,
	}
	return pod
}

// named is a spare with a name, which its token is derived from.
func (p *Pool) named(spare *corev1.Pod) *corev1.Pod {
	pod := spare.DeepCopy()
	pod.Name = "spare-" + strings.ToLower(rand.Text())
	c := &pod.Spec.Containers[0]
	c.Env = append(c.Env, corev1.EnvVar{Name: runtimes.SpareVariable, Value: runtimes.Digest(p.token(pod))})
	return pod
}

func (p *Pool) token(pod *corev1.Pod) string {
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(pod.Namespace + "/" + pod.Name))
	return hex.EncodeToString(mac.Sum(nil))
}

// usable says whether a pod that has not been taken obeys to this process, and
// has not ended.
func (p *Pool) usable(pod *corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded || len(pod.Spec.Containers) == 0 {
		return false
	}
	for _, e := range pod.Spec.Containers[0].Env {
		if e.Name == runtimes.SpareVariable {
			return e.Value == runtimes.Digest(p.token(pod))
		}
	}
	return false
}
