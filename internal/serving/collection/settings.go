package collection

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"redoubt.dev/redoubt/internal/serving/class"
)

// settingsName is the ConfigMap, in the platform's namespace, in which the owner
// changes what is collected: Knative's name, and its keys.
const (
	settingsName      = "config-gc"
	settingsNamespace = class.Namespace
)

// maxCount bounds the numbers of revisions.
const maxCount = 100_000

// disabled is what stands for no limit in each setting but the least number.
const disabled = "disabled"

// settings say which revisions in reserve are deleted. A time below 0 does not
// count, and nor does a most below 0.
type settings struct {
	// sinceMade and sinceRouted are how long a revision is kept after it was
	// made, and after the last route has left it.
	sinceMade, sinceRouted time.Duration
	// least is how many are kept whatever their age, to go back to; most is how
	// many are kept at all.
	least, most int
}

// defaults are Knative's.
func defaults() settings {
	return settings{sinceMade: 48 * time.Hour, sinceRouted: 15 * time.Hour, least: 20, most: 1000}
}

// read takes settings from a ConfigMap's data: those that are left out are the
// defaults, others than Knative's are no concern here. An error names all that
// are wrong, and then the defaults hold.
func read(data map[string]string) (settings, error) {
	s := defaults()
	err := errors.Join(
		readTime(data, "retain-since-create-time", &s.sinceMade),
		readTime(data, "retain-since-last-active-time", &s.sinceRouted),
		readCount(data, "min-non-active-revisions", &s.least, false),
		readCount(data, "max-non-active-revisions", &s.most, true),
	)
	if err == nil && s.most >= 0 && s.most < s.least {
		err = fmt.Errorf("max-non-active-revisions %d is below min-non-active-revisions %d: raise it, or write %q", s.most, s.least, disabled)
	}
	if err != nil {
		return defaults(), err
	}
	return s, nil
}

func readTime(data map[string]string, key string, to *time.Duration) error {
	switch text, there := data[key]; {
	case !there:
	case text == disabled:
		*to = -1
	default:
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("%s %.40q is no time: use one such as 48h, or %q", key, text, disabled)
		}
		*to = d
	}
	return nil
}

func readCount(data map[string]string, key string, to *int, optional bool) error {
	switch text, there := data[key]; {
	case !there:
	case text == disabled && optional:
		*to = -1
	default:
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > maxCount {
			return fmt.Errorf("%s %.40q is no number from 0 to %d", key, text, maxCount)
		}
		*to = n
	}
	return nil
}
