package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"redoubt.dev/redoubt/test/platform"
)

// web are the flags of a service that answers with $ANSWER, and at
// /cgi-bin/alone says whether another request is served at the same time.
var web = []string{"--image=" + shellImage, "--pull-policy=Never", "--cmd=/bin/sh", "--cmd=-c", "--arg=" + `
	mkdir -p /www/cgi-bin
	echo "$ANSWER" > /www/index.html
	echo '#!/bin/sh
		echo; mkdir /lock || { echo overlaps; exit; }
		sleep 1; rmdir /lock; echo alone' > /www/cgi-bin/alone
	chmod +x /www/cgi-bin/alone
	echo "serves $ANSWER"
	trap exit TERM
	httpd -f -p "${LISTEN:-$PORT}" -h /www & wait`}

// A service's life: created, changed, split, scaled to zero and from it,
// deleted; by the commands, in every class.
func TestServiceInEveryClass(t *testing.T) {
	inEveryClass(t, func(t *testing.T, class, ns string) {
		s := service{ns: ns, name: "web"}
		out := s.create(t, "--runtime-class="+class, "--env=ANSWER=one")
		if !strings.Contains(out, "Service 'web' created to latest revision 'web-00001' is available at URL:\nhttp://web."+ns+".") {
			t.Errorf("create prints %q", out)
		}
		s.answers(t, "one")
		s.answersOverTLS(t, "one")
		pods := s.pods(t, "web-00001")
		if len(pods) != 1 || *pods[0].Spec.RuntimeClassName != class {
			t.Errorf("instances: %+v", pods)
		}
		if log := s.do(t, "service", "logs", s.name); !strings.Contains(log, "serves one") {
			t.Errorf("log: %q", log)
		}
		s.do(t, "service", "update", s.name, "--env=ANSWER=two", "--concurrency-limit=1", "--scale-max=1")
		s.answers(t, "two")
		s.limits(t)
		s.splits(t)
		s.rests(t)
		s.isListed(t)
		s.do(t, "service", "delete", s.name, "--wait")
		if out, err := shared.Try(t, "", "service", "describe", s.name, "-n", ns); err == nil || !strings.Contains(err.Error(), "not found") {
			t.Errorf("a deleted service is described: %q, %v", out, err)
		}
	})
}

// A revision that cannot become ready says why, has no instances once its time
// is over, and leaves the one before it serving.
func TestRevisionThatFails(t *testing.T) {
	shell(t)
	ns := namespace(t)
	for name, fault := range map[string]struct {
		reason string
		flags  []string
	}{
		"crash": {"ExitCode1", []string{"--cmd=/bin/false", "--arg=x"}},
		"deaf":  {"ProgressDeadlineExceeded", []string{"--env=LISTEN=9"}},
		"image": {"ErrImageNeverPull", []string{"--image=localhost/redoubt-test/no-such-image:latest"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := service{ns: ns, name: name}
			s.create(t, "--env=ANSWER=good")
			flags := append([]string{"service", "update", name, "-n", ns, "--wait-timeout=90", "--annotation=serving.knative.dev/progress-deadline=20s"}, fault.flags...)
			if out, err := shared.Try(t, "", flags...); err == nil {
				t.Errorf("became ready: %s", out)
			}
			if reason := s.reason(t, "ksvc", name, "ConfigurationsReady"); reason != "RevisionFailed" {
				t.Errorf("the service's reason is %q, want RevisionFailed", reason)
			}
			platform.Eventually(t, "no instances of the failed revision", func() error {
				if n := len(s.pods(t, name+"-00002")); n > 0 {
					return fmt.Errorf("there are %d", n)
				}
				return nil
			})
			if reason := s.reason(t, "revision", name+"-00002", "Ready"); reason != fault.reason {
				t.Errorf("the revision's reason is %q, want %s", reason, fault.reason)
			}
			s.answers(t, "good")
		})
	}
}

// A request to a service whose only instance has just crashed waits until the
// kubelet has started it again, and the owner is told of the wait.
func TestCrashedInstanceIsWaitedFor(t *testing.T) {
	t.Parallel()
	shell(t)
	s := service{ns: namespace(t), name: "web"}
	s.create(t, "--env=ANSWER=back")
	pod := s.pods(t, "")[0].Name
	shared.Kubectl(t, "-n", s.ns, "exec", pod, "--", "/bin/sh", "-c", "kill -9 $(ps | grep '[h]ttpd' | sed 's/^ *//; s/ .*//')")
	for range 20 {
		s.answers(t, "back")
	}
	platform.Eventually(t, "the restart", func() error {
		out := shared.Kubectl(t, "-n", s.ns, "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].restartCount}")
		if out != "1" {
			return fmt.Errorf("restarts: %s", out)
		}
		return nil
	})
	s.answers(t, "back")
	platform.Eventually(t, "the wait", func() error {
		if out := s.do(t, "service", "describe", s.name); !strings.Contains(out, "Cold Starts:") || !strings.Contains(out, "created in") {
			return fmt.Errorf("described as %q", out)
		}
		return nil
	})
}

type service struct{ ns, name string }

// do runs `redoubt NOUN VERB NAME` on the service, which must succeed.
func (s service) do(t *testing.T, noun, verb, name string, flags ...string) string {
	t.Helper()
	return shared.Redoubt(t, append([]string{noun, verb, name, "-n", s.ns}, flags...)...)
}

func (s service) create(t *testing.T, flags ...string) string {
	t.Helper()
	return s.do(t, "service", "create", s.name, append(flags, web...)...)
}

// pods are the service's, or those of one of its revisions.
func (s service) pods(t *testing.T, revision string) []corev1.Pod {
	t.Helper()
	selector := "serving.knative.dev/service=" + s.name
	if revision != "" {
		selector = "serving.knative.dev/revision=" + revision
	}
	pods, err := shared.Cluster.CoreV1().Pods(s.ns).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return pods.Items
}

// reason is why a condition is as it is.
func (s service) reason(t *testing.T, kind, name, condition string) string {
	t.Helper()
	return shared.Kubectl(t, "-n", s.ns, "get", kind, name, "-o", fmt.Sprintf("jsonpath={.status.conditions[?(@.type==%q)].reason}", condition))
}

func (s service) answers(t *testing.T, want string) {
	t.Helper()
	if got := strings.TrimSpace(s.do(t, "service", "invoke", s.name)); got != want {
		t.Errorf("the service answers %q, want %q", got, want)
	}
}

// request sends a request through the gateway to the service, or to what has
// the tag.
func (s service) request(t *testing.T, tag, path string) (int, string) {
	t.Helper()
	at, err := url.Parse(strings.TrimSpace(s.do(t, "service", "describe", s.name, "-o", "url")))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+at.Port()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = at.Host
	if tag != "" {
		req.Host = tag + "-" + at.Host
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(body))
}

// splits gives both revisions half of the requests, and the first a name of
// its own.
func (s service) splits(t *testing.T) {
	s.do(t, "service", "update", s.name, "--traffic=web-00001=50,@latest=50", "--tag=web-00001=old")
	seen := map[string]int{}
	for range 40 {
		_, answer := s.request(t, "", "/")
		seen[answer]++
	}
	if len(seen) != 2 || min(seen["one"], seen["two"]) < 5 { // by chance once in 400,000 times
		t.Errorf("half and half of 40 requests: %v", seen)
	}
	for range 3 {
		if code, answer := s.request(t, "old", "/"); answer != "one" {
			t.Errorf("the tagged revision answers %d %q", code, answer)
		}
	}
	if code, answer := s.request(t, "new", "/"); code != http.StatusNotFound {
		t.Errorf("a tag that is not there answers %d %q, want 404", code, answer)
	}
	s.do(t, "service", "update", s.name, "--traffic=@latest=100", "--untag=old")
}

// limits sends requests at once to a service that takes them one by one.
func (s service) limits(t *testing.T) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if code, answer := s.request(t, "", "/cgi-bin/alone"); answer != "alone" {
				t.Errorf("with one request at a time: %d %q", code, answer)
			}
		})
	}
	all.Wait()
}

// rests waits until the service has no instances, and asks it then.
func (s service) rests(t *testing.T) {
	s.do(t, "service", "update", s.name, "--scale-window=6s", "--annotation=autoscaling.knative.dev/scale-to-zero-pod-retention-period=0s")
	platform.Eventually(t, "no instances", func() error {
		if n := len(s.pods(t, "web-00003")); n > 0 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	s.answers(t, "two")
}

func (s service) isListed(t *testing.T) {
	for _, list := range []struct{ noun, name, columns string }{
		{"service", "service.serving.knative.dev/web", "NAME URL LATEST AGE CONDITIONS READY REASON"},
		{"revision", "revision.serving.knative.dev/web-00001", "NAME SERVICE TRAFFIC TAGS GENERATION AGE CONDITIONS READY REASON"},
		{"route", "route.serving.knative.dev/web", "NAME URL READY"},
	} {
		table := shared.Redoubt(t, list.noun, "list", "-n", s.ns)
		head, _, _ := strings.Cut(table, "\n")
		if got := strings.Join(strings.Fields(head), " "); got != list.columns {
			t.Errorf("%s list has the columns %q, want %q", list.noun, got, list.columns)
		}
		if names := shared.Redoubt(t, list.noun, "list", "-n", s.ns, "-o", "name"); !strings.Contains(names, list.name+"\n") {
			t.Errorf("%s list -o name: %q", list.noun, names)
		}
		var objects struct {
			Items []struct {
				Kind string `json:"kind"`
			} `json:"items"`
		}
		if err := json.Unmarshal([]byte(shared.Redoubt(t, list.noun, "list", "-n", s.ns, "-o", "json")), &objects); err != nil || len(objects.Items) == 0 {
			t.Errorf("%s list -o json: %v, %+v", list.noun, err, objects)
		}
		_, object, _ := strings.Cut(list.name, "/")
		if out := s.do(t, list.noun, "describe", object); !strings.Contains(out, "Ready") {
			t.Errorf("%s describe: %q", list.noun, out)
		}
	}
}
