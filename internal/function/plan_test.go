package function

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/runtimes"
)

// dependent is a function with dependencies, changed.
func dependent(change func(fn *kubeless.Function)) *kubeless.Function {
	fn := &kubeless.Function{}
	fn.Spec.Runtime, fn.Spec.Handler, fn.Spec.Function, fn.Spec.Deps = "python3", "app.greet", "def greet(e, c): pass", "requests==2.31\n"
	fn.Spec.Deployment.Spec.Template.Spec.Containers = make([]kubeless.Container, 1)
	change(fn)
	return fn
}

// planOf is what is to be built for fn, and what of.
func planOf(t *testing.T, fn *kubeless.Function) (*plan, runtimes.Runtime, code) {
	t.Helper()
	lang, err := runtimes.Get(fn.Spec.Runtime)
	if err != nil {
		t.Fatal(err)
	}
	code, files, err := codeOf(fn, lang)
	if err != nil {
		t.Fatal(err)
	}
	p, err := planFor(fn, lang, code, files)
	if err != nil {
		t.Fatal(err)
	}
	return p, lang, code
}

func keyOf(t *testing.T, fn *kubeless.Function) string {
	t.Helper()
	p, _, _ := planOf(t, fn)
	if p == nil {
		return ""
	}
	return p.key
}

func TestWhatABuildDependsOn(t *testing.T) {
	gvisor := "gvisor"
	env := func(name string) func(fn *kubeless.Function) {
		return func(fn *kubeless.Function) {
			fn.Spec.Deployment.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: name, Value: "x"}}
		}
	}
	first := keyOf(t, dependent(func(*kubeless.Function) {}))
	for title, tc := range map[string]struct {
		change func(fn *kubeless.Function)
		same   bool
	}{
		"the source":           {func(fn *kubeless.Function) { fn.Spec.Function += "\n" }, true},
		"the handler":          {func(fn *kubeless.Function) { fn.Spec.Handler = "app.other" }, true},
		"another variable":     {env("LEVEL"), true},
		"a variable of pip":    {env("PIP_INDEX_URL"), false},
		"a proxy":              {env("HTTPS_PROXY"), false},
		"the dependencies":     {func(fn *kubeless.Function) { fn.Spec.Deps = "requests==2.32\n" }, false},
		"the sandbox":          {func(fn *kubeless.Function) { fn.Spec.RuntimeClassName = &gvisor }, false},
		"none at all":          {func(fn *kubeless.Function) { fn.Spec.Deps = "" }, false},
		"what is only similar": {env("PIP"), true},
	} {
		if got := keyOf(t, dependent(tc.change)); (got == first) != tc.same {
			t.Errorf("%s: the keys are %s and %s", title, first, got)
		}
	}
}

// A build has the sandbox of its function, and no right more.
func TestBuildsAreConfined(t *testing.T) {
	gvisor := "gvisor"
	fn := dependent(func(fn *kubeless.Function) { fn.Name, fn.Namespace, fn.Spec.RuntimeClassName = "f", "ns", &gvisor })
	p, lang, code := planOf(t, fn)
	build, run := buildPod(fn, p, code), template(fn, lang, code, built{}).Spec.PodFields
	if got := build.Spec.RuntimeClassName; got != run.RuntimeClassName || *got != gvisor {
		t.Errorf("it is built in %v", got)
	}
	if !equality.Semantic.DeepEqual(build.Spec.SecurityContext, run.SecurityContext) || !equality.Semantic.DeepEqual(build.Spec.Containers[0].SecurityContext, run.Containers[0].SecurityContext) {
		t.Error("it is built with other rights than it runs with")
	}
	if build.Namespace != fn.Namespace || *build.Spec.AutomountServiceAccountToken || build.Spec.ActiveDeadlineSeconds == nil || build.Spec.Containers[0].Resources.Limits.Memory().IsZero() {
		t.Errorf("it is built in %+v", build.Spec)
	}
}

func TestDependenciesAreRefused(t *testing.T) {
	for says, change := range map[string]func(fn *kubeless.Function){
		"of ruby are not installed":   func(fn *kubeless.Function) { fn.Spec.Runtime = "ruby" },
		"more than the 1000000 bytes": func(fn *kubeless.Function) { fn.Spec.Deps = strings.Repeat("x", 1_000_000) },
		"beside the runtime's own": func(fn *kubeless.Function) {
			fn.Spec.Deployment.Spec.Template.Spec.Containers[0].Image = "example.com/own"
		},
	} {
		if _, err := NeedsBuild(dependent(change)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func TestBuildsAreJudged(t *testing.T) {
	terminated := func(reason, message string) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{Reason: reason, Message: message},
		}}}}
	}
	waiting := corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}}
	secretless := corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CreateContainerConfigError", Message: `secret "token" not found`}}}}}
	with := func(kind corev1.PodConditionType, status corev1.ConditionStatus, message string) corev1.PodStatus {
		return corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: kind, Status: status, Message: message}}}
	}
	for says, tc := range map[string]struct {
		status corev1.PodStatus
		failed bool
	}{
		"":                                     {with(kubeless.PodStored, corev1.ConditionTrue, ""), false},
		"too large":                            {with(kubeless.PodStored, corev1.ConditionFalse, "too large"), true},
		"more memory than 1Gi":                 {terminated("OOMKilled", "npm"), true},
		"the build failed: npm error 404":      {terminated("Error", "npm error\n404\n"), true},
		"not end within 15m":                   {corev1.PodStatus{Phase: corev1.PodFailed, Reason: "DeadlineExceeded"}, true},
		"function prepare go --dependencies":   {waiting, true},
		`cannot start: secret "token"`:         {secretless, true},
		"waits for a node: no node is free":    {with(corev1.PodScheduled, corev1.ConditionFalse, "no node is free"), false},
		"the node stores what was built":       {with(corev1.PodReady, corev1.ConditionTrue, ""), false},
		"the build runs in the pod f-build-12": {corev1.PodStatus{Phase: corev1.PodRunning}, false},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "f-build-12", Labels: map[string]string{kubeless.BuildRuntimeLabel: "go"}}, Status: tc.status}
		got := judge(pod)
		if says == "" {
			if got != nil {
				t.Errorf("a result that is stored: %v", got)
			}
			continue
		}
		if got == nil || got.failed != tc.failed || !strings.Contains(got.message, says) {
			t.Errorf("%+v, want %q", got, says)
		}
	}
}

// What keeps a build's pod from starting is said, and looked for again.
func TestBuildThatCannotStart(t *testing.T) {
	r := &reconciler{unstarted: kube.Unstarted{Gates: gates{}}}
	pod := &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated, Message: "gated"}}}}
	if got := r.lacking(t.Context(), pod, judge(pod)); got.failed || got.reason != "Building" || !strings.HasSuffix(got.message, "2 of 2 are taken") || got.again == 0 {
		t.Errorf("%+v", got)
	}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning}
	if got := r.lacking(t.Context(), pod, judge(pod)); !strings.Contains(got.message, "the build runs") || got.again != 0 {
		t.Errorf("once it runs: %+v", got)
	}
}

type gates struct{}

func (gates) Why(types.UID) string { return "2 of 2 are taken" }
