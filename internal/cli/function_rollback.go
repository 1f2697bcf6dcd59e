package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
)

func newFunctionRollback(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	w := &waitFlags{}
	var to int
	cmd := &cobra.Command{
		Use:   "rollback NAME [--to N]",
		Short: "Let an earlier version of a function answer",
		Long: `Let an earlier version of a function answer: the one before that which answers
now, or version N. Versions are the revisions of the function's service; the
platform keeps the last ones.

The function keeps its newest source. The next change to it ends the rollback.`,
		Example: `  redoubt revision list hello
  redoubt function rollback hello
  redoubt function rollback hello --to 2`,
		Args: oneName("function"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("to") && to < 1 {
				return usage(fmt.Errorf("--to %d is no version: they count from 1", to))
			}
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			fn, err := c.function(cmd, args[0])
			if err != nil {
				return err
			}
			revision, err := c.earlier(cmd.Context(), fn, to)
			if err != nil {
				return err
			}
			if err := c.rollBack(cmd.Context(), fn, revision); err != nil {
				return err
			}
			if w.wait {
				if err := c.answers(cmd.Context(), fn, revision, time.Duration(w.timeout)*time.Second); err != nil {
					return err
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Function '%s' rolled back to version %d (%s) in namespace '%s'.\n", fn.Name, versionOf(revision), revision, c.namespace)
			return nil
		},
		ValidArgsFunction: complete(f, functions),
	}
	f.register(cmd, false)
	w.register(cmd, true)
	cmd.Flags().IntVar(&to, "to", 0, "version to go back to (default: the one before)")
	return cmd
}

// versionOf is the number that a revision's name ends with, 0 where it has none.
func versionOf(revision string) int {
	n, err := strconv.Atoi(revision[strings.LastIndex(revision, "-")+1:])
	if err != nil {
		return 0
	}
	return n
}

// earlier finds the revision to go back to.
func (c *connection) earlier(ctx context.Context, fn *kubeless.Function, to int) (string, error) {
	var list serving.RevisionList
	if err := c.List(ctx, &list, client.InNamespace(c.namespace), client.MatchingLabels{serving.ServiceLabel: fn.Name}); err != nil {
		return "", err
	}
	now, err := c.answering(ctx, fn.Name)
	if err != nil {
		return "", err
	}
	return choose(fn.Name, list.Items, versionOf(now), to)
}

// choose returns the revision with the number to, or the newest below now that
// can run.
func choose(name string, all []serving.Revision, now, to int) (string, error) {
	slices.SortFunc(all, func(a, b serving.Revision) int { return cmp.Compare(versionOf(b.Name), versionOf(a.Name)) })
	var numbers []string
	for _, r := range all {
		n, failed := versionOf(r.Name), r.Status.Conditions.Get(serving.Ready)
		usable := failed.Status != corev1.ConditionFalse
		switch {
		case n == to && !usable:
			return "", fmt.Errorf("version %d of function '%s' cannot run: %s: %s", to, name, failed.Reason, failed.Message)
		case n == to, to == 0 && n < now && usable:
			return r.Name, nil
		}
		numbers = append(numbers, strconv.Itoa(n))
	}
	if to == 0 {
		return "", fmt.Errorf("function '%s' has no version before %d; those that there are: %s", name, now, strings.Join(numbers, ", "))
	}
	return "", fmt.Errorf("function '%s' has no version %d; those that there are: %s", name, to, strings.Join(numbers, ", "))
}

// answering is the revision that gets the function's requests.
func (c *connection) answering(ctx context.Context, name string) (string, error) {
	var svc serving.Service
	if err := c.Get(ctx, c.key(name), &svc); err != nil {
		return "", client.IgnoreNotFound(err)
	}
	for _, t := range svc.Status.Traffic {
		if t.Percent != nil && *t.Percent == 100 {
			return t.RevisionName, nil
		}
	}
	return svc.Status.LatestReadyRevisionName, nil
}

func (c *connection) rollBack(ctx context.Context, fn *kubeless.Function, revision string) error {
	before := fn.DeepCopy()
	if fn.Annotations == nil {
		fn.Annotations = map[string]string{}
	}
	fn.Annotations[kubeless.RollbackAnnotation] = kubeless.Rollback(fn, revision)
	err := c.Patch(ctx, fn, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), fieldOwner)
	if apierrors.IsConflict(err) {
		return fmt.Errorf("function '%s' has just been changed; look at it and try again", fn.Name)
	}
	return err
}

// answers waits until the revision gets the function's requests.
func (c *connection) answers(ctx context.Context, fn *kubeless.Function, revision string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		now, err := c.answering(ctx, fn.Name)
		switch {
		case now == revision:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("timeout: %s does not answer yet; see: redoubt function describe %s", revision, fn.Name)
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}
