// Package pool measures a function's first call, with a spare instance that
// waits for it, and with none, when a sandbox and a language have to start; and
// what instances take that nobody calls.
package pool

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/internal/kube"
)

const (
	suite = "pool"
	// Subjects.
	made, spare = "made", "spare"
	rounds      = 7
	// bar is the median of a first call with a spare, in milliseconds.
	bar = 50
	// settle is what goes on after a spare is ready and a deployment done.
	settle = 2 * time.Second
	// patience is how long a function, or a spare, may take to be there.
	patience = time.Minute
)

// language is one with a source of one function.
type language struct{ runtime, file, source string }

// languages are those that have spare instances.
var languages = []language{
	{"python3", "app.py", "def greet(event, context):\n    return 'hello'\n"},
	{"nodejs", "app.js", "module.exports = {greet: (event, context) => 'hello'};\n"},
}

// Run measures every language in every class.
func Run(ctx context.Context, p *platform.Platform) ([]measure.Result, error) {
	results, err := everywhere(ctx, p, func(b *bench, lang language, class string) ([]measure.Result, error) {
		times := map[string][]float64{}
		err := measure.Interleave([]string{made, spare}, rounds, func(subject string, record bool) error {
			took, err := b.first(ctx, newFunction(lang.runtime, class, lang.source, subject))
			if err == nil && record {
				times[subject] = append(times[subject], float64(took)/float64(time.Millisecond))
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		metric := fmt.Sprintf("first call, %s in %s", lang.runtime, class)
		return []measure.Result{
			measure.Of(suite, made, metric, "ms", times[made]...),
			measure.Of(suite, spare, metric, "ms", times[spare]...).Within(bar),
		}, nil
	})
	measure.Compare(results, made)
	return results, err
}

// everywhere measures something for every language in every class.
func everywhere(ctx context.Context, p *platform.Platform, one func(b *bench, lang language, class string) ([]measure.Result, error)) (results []measure.Result, err error) {
	classes, err := p.Classes(ctx)
	if err != nil {
		return nil, err
	}
	c, err := p.Services()
	if err != nil {
		return nil, err
	}
	b := &bench{Client: c, platform: p}
	for _, lang := range languages {
		if err := b.image(ctx, lang.runtime, lang.file, lang.source); err != nil {
			return results, err
		}
		for _, class := range classes {
			measured, err := one(b, lang, class)
			if err != nil {
				return results, fmt.Errorf("%s in %s: %w", lang.runtime, class, err)
			}
			results = append(results, measured...)
		}
	}
	return results, nil
}

type bench struct {
	client.Client
	platform *platform.Platform
}

// image has the runtime's image made, by deploying a function as users do.
func (b *bench) image(ctx context.Context, runtime, file, source string) (err error) {
	dir, err := os.MkdirTemp("", "redoubt-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path, name := filepath.Join(dir, file), "bench-pool-image-"+runtime
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		return err
	}
	if err := b.platform.Run(ctx, "function", "deploy", name, "--runtime="+runtime, "--from-file="+path, "--handler=app.greet"); err != nil {
		return err
	}
	return b.platform.Run(ctx, "function", "delete", name)
}

// newFunction is one without an instance.
func newFunction(runtime, class, source, subject string) *kubeless.Function {
	f := &kubeless.Function{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, GenerateName: "bench-pool-"}}
	if subject == spare {
		f.Annotations = map[string]string{kubeless.PoolAnnotation: "1"}
	}
	f.Spec.Runtime, f.Spec.Handler, f.Spec.Function, f.Spec.RuntimeClassName = runtime, "app.greet", source, &class
	f.Spec.Deployment.Spec.Template.Annotations = map[string]string{serving.InitialScaleAnnotation: "0"}
	return f
}

// first deploys a function, calls it once and removes it.
func (b *bench) first(ctx context.Context, f *kubeless.Function) (took time.Duration, err error) {
	if err := b.Create(ctx, f); err != nil {
		return 0, fmt.Errorf("make function: %w", err)
	}
	defer func() { err = errors.Join(err, b.Delete(context.WithoutCancel(ctx), f)) }()
	err = b.await(ctx, "function "+f.Name, func() bool {
		return b.Get(ctx, client.ObjectKeyFromObject(f), f) == nil && f.Status.Conditions.IsTrue(serving.Ready)
	})
	if err != nil {
		return 0, err
	}
	if f.Annotations != nil {
		if err := b.await(ctx, "a spare instance", func() bool { return b.spareReady(ctx) }); err != nil {
			return 0, err
		}
	}
	time.Sleep(settle)
	return b.platform.Request(ctx, http.DefaultClient, f.Namespace, f.Name)
}

func (b *bench) spareReady(ctx context.Context) bool {
	return b.ready(ctx, metav1.NamespaceDefault, kubeless.SpareLabel) != nil
}

// ready is a pod that is, of those that a selector of labels finds; nil where there
// is none.
func (b *bench) ready(ctx context.Context, namespace, selector string) *corev1.Pod {
	pods, err := b.platform.Cluster.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.DeletionTimestamp == nil && kube.PodIs(pod, corev1.PodReady) {
			return pod
		}
	}
	return nil
}

func (b *bench) await(ctx context.Context, what string, is func() bool) error {
	for deadline := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("%s is not ready within %v; see: redoubt logs controller --name %s", what, patience, b.platform.Inst.Name)
		}
	}
	return nil
}
