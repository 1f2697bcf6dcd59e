package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// latest is how kn's users write the newest ready revision.
const latest = "@latest"

func (f *serviceFlags) registerTraffic(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.traffic, "traffic", nil, "share of the requests, REVISION|TAG|@latest=PERCENT; all shares together are 100")
	flags.StringSliceVar(&f.tag, "tag", nil, "name of its own for a revision, REVISION|@latest=TAG")
	flags.StringSliceVar(&f.untag, "untag", nil, "tag to take away")
}

// applyTraffic works on the targets of svc, of which there is always one.
func (f *serviceFlags) applyTraffic(svc *serving.Service) error {
	targets := svc.Spec.Traffic
	if len(f.tag)+len(f.untag)+len(f.traffic) == 0 {
		return nil
	}
	if len(targets) == 0 {
		targets = []serving.TrafficTarget{target(latest, 100)}
	}
	for _, tag := range f.untag {
		at := slices.IndexFunc(targets, func(t serving.TrafficTarget) bool { return t.Tag == tag })
		if at < 0 {
			return usage(fmt.Errorf("--untag %s: no revision has that tag", tag))
		}
		targets[at].Tag = ""
	}
	for _, flag := range f.tag {
		to, tag, ok := strings.Cut(flag, "=")
		if !ok || to == "" || tag == "" {
			return usage(fmt.Errorf("--tag %q is not REVISION=TAG or @latest=TAG", flag))
		}
		targets = tagged(targets, to, tag)
	}
	if len(f.traffic) > 0 {
		var err error
		if targets, err = divided(targets, f.traffic); err != nil {
			return err
		}
	}
	svc.Spec.Traffic = slices.DeleteFunc(targets, func(t serving.TrafficTarget) bool {
		return t.Tag == "" && (t.Percent == nil || *t.Percent == 0)
	})
	return nil
}

func target(revision string, percent int64) serving.TrafficTarget {
	isLatest := revision == latest
	t := serving.TrafficTarget{LatestRevision: &isLatest, Percent: &percent}
	if !isLatest {
		t.RevisionName = revision
	}
	return t
}

// refersTo says whether t is what a user calls name.
func refersTo(t serving.TrafficTarget, name string) bool {
	if name == latest {
		return t.RevisionName == ""
	}
	return t.RevisionName == name || t.Tag == name
}

func tagged(targets []serving.TrafficTarget, to, tag string) []serving.TrafficTarget {
	for i := range targets {
		if targets[i].Tag == tag {
			targets[i].Tag = "" // a tag moves
		}
	}
	at := slices.IndexFunc(targets, func(t serving.TrafficTarget) bool { return refersTo(t, to) && t.Tag == "" })
	if at < 0 {
		targets = append(targets, target(to, 0))
		at = len(targets) - 1
	}
	targets[at].Tag = tag
	return targets
}

func divided(targets []serving.TrafficTarget, shares []string) ([]serving.TrafficTarget, error) {
	for i := range targets {
		none := int64(0)
		targets[i].Percent = &none
	}
	for _, share := range shares {
		to, number, _ := strings.Cut(share, "=")
		percent, err := strconv.ParseInt(strings.TrimSuffix(number, "%"), 10, 64)
		if err != nil || to == "" || percent < 0 || percent > 100 {
			return nil, usage(fmt.Errorf("--traffic %q is not REVISION=PERCENT, TAG=PERCENT or @latest=PERCENT", share))
		}
		at := slices.IndexFunc(targets, func(t serving.TrafficTarget) bool { return refersTo(t, to) })
		if at < 0 {
			targets = append(targets, target(to, percent))
			continue
		}
		targets[at].Percent = &percent
	}
	return targets, nil
}
