// Command bench measures the platform in one run: it boots an instance of its
// own, measures everything on it, prints a table and writes the results to a
// file. Run it in the repository's folder, as root:
//
//	go run ./bench                      all of it, about six minutes
//	go run ./bench -only startup,pod    some of it
//	go run ./bench -list                what there is
//
// Some need no platform and no root:
//
//	go run ./bench -only simulate -trace load.csv
//	go run ./bench -only calls
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"redoubt.dev/redoubt/bench/admission"
	"redoubt.dev/redoubt/bench/boot"
	"redoubt.dev/redoubt/bench/calls"
	"redoubt.dev/redoubt/bench/faults"
	"redoubt.dev/redoubt/bench/footprint"
	"redoubt.dev/redoubt/bench/gateway"
	"redoubt.dev/redoubt/bench/io"
	"redoubt.dev/redoubt/bench/measure"
	"redoubt.dev/redoubt/bench/microvm"
	"redoubt.dev/redoubt/bench/noisy"
	"redoubt.dev/redoubt/bench/overhead"
	"redoubt.dev/redoubt/bench/platform"
	"redoubt.dev/redoubt/bench/pod"
	"redoubt.dev/redoubt/bench/pool"
	"redoubt.dev/redoubt/bench/services"
	"redoubt.dev/redoubt/bench/simulate"
	"redoubt.dev/redoubt/bench/soak"
	"redoubt.dev/redoubt/bench/startup"
	"redoubt.dev/redoubt/bench/step"
	"redoubt.dev/redoubt/bench/thaw"
)

type suite struct {
	name, about string
	run         func(context.Context, *platform.Platform) ([]measure.Result, error)
}

// models need no platform: they run first and boot nothing. The simulator prints
// what it found out itself, and has no results.
var models = []suite{
	{"simulate", "the autoscaler against loads of up to 1,000 pods, in virtual time", func(ctx context.Context, _ *platform.Platform) ([]measure.Result, error) {
		return nil, simulate.Run(ctx, os.Stdout, *trace)
	}},
	{"calls", "a warm call of a function, beside the smallest server of its language", func(ctx context.Context, _ *platform.Platform) ([]measure.Result, error) {
		return calls.Run(ctx)
	}},
}

// suites are in the order in which they run: booting first, because the last
// boot is the one that the others measure; what disturbs nothing before what
// does.
var suites = []suite{
	{"boot", "the time until the platform is ready, new and again", boot.Run},
	{"footprint", "memory of each process, and what idling takes", footprint.Run},
	{"startup", "a pod's start through the CRI, every handler", startup.Run},
	{"overhead", "what a pod takes beside its containers, every handler", overhead.Run},
	{"pod", "from the API call to the first HTTP answer, every class", pod.Run},
	{"io", "a file written and read, and data exchanged between pods, every class", io.Run},
	{"thaw", "what a request waits for a frozen instance, every class", thaw.Run},
	{"services", "a service's way to ready, and what each takes, among ten and a thousand", services.Run},
	{"step", "a thousand requests a second onto a service that is frozen, and one that is not there", step.Run},
	{"pool", "a function's first call, with a spare instance and without", pool.Run},
	{"idle", "memory of functions that nobody calls, every language and class", pool.Idle},
	{"gateway", "what the gateway adds to a request, beside nginx", gateway.Run},
	{"admission", "what policies add to the creation of a pod, with few tenants and many", admission.Run},
	{"faults", "requests that fail, and the time until all works again, when a process is killed", faults.Run},
	{"noisy", "what a tenant's requests take while another floods the node", noisy.Run},
	{"soak", "what 200 pods leave on the node that come and go in batches of 20, every class", soak.Run},
	{"microvm", "virtual machines by themselves: booted, copied, paused, many", microvm.Run},
}

var trace = flag.String("trace", "", "a load for simulate to replay too: a CSV file of seconds and requests per second")

func main() {
	if len(os.Args) == 3 && os.Args[1] == noisy.ClientCommand {
		if err := noisy.Client(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log.SetLogger(logr.Discard()) // of the library behind clients; errors are returned
	only := flag.String("only", "", "run these suites, separated by commas")
	out := flag.String("out", "bench/results.json", "file to write the results to")
	list := flag.Bool("list", false, "list the suites and stop")
	flag.Parse()
	if *list {
		for _, s := range slices.Concat(models, suites) {
			fmt.Printf("%-12s%s\n", s.name, s.about)
		}
		return
	}
	if err := run(ctx, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only, out string) (err error) {
	wanted, err := choose(only)
	if err != nil {
		return err
	}
	results, err := measureAll(ctx, nil, models, wanted)
	if err != nil || !needsPlatform(wanted) {
		return errors.Join(err, report(results, out))
	}
	p, err := platform.New()
	if err != nil {
		return err
	}
	if err := p.Purge(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Purge(context.WithoutCancel(ctx))) }()
	if !wanted["boot"] {
		if _, err := p.Boot(ctx); err != nil {
			return err
		}
	}
	more, err := measureAll(ctx, p, suites, wanted)
	// What was measured before a failure is worth keeping.
	return errors.Join(err, report(append(results, more...), out))
}

// report prints and keeps results, if there are any.
func report(results []measure.Result, out string) error {
	if len(results) == 0 {
		return nil
	}
	return errors.Join(measure.Table(os.Stdout, results), measure.NewRun(results).Save(out), say("\nResults are in %s\n", out))
}

func measureAll(ctx context.Context, p *platform.Platform, of []suite, wanted map[string]bool) ([]measure.Result, error) {
	var results []measure.Result
	started := time.Now()
	for _, s := range of {
		if !wanted[s.name] {
			continue
		}
		fmt.Fprintf(os.Stderr, "%7.3fs %s: %s\n", time.Since(started).Seconds(), s.name, s.about)
		more, err := s.run(ctx, p)
		results = append(results, more...)
		if err != nil {
			return results, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	fmt.Fprintf(os.Stderr, "%7.3fs done\n", time.Since(started).Seconds())
	return results, nil
}

func needsPlatform(wanted map[string]bool) bool {
	return slices.ContainsFunc(suites, func(s suite) bool { return wanted[s.name] })
}

// choose reads -only; empty means every suite.
func choose(only string) (map[string]bool, error) {
	wanted := map[string]bool{}
	for _, s := range slices.Concat(models, suites) {
		wanted[s.name] = only == ""
	}
	if only == "" {
		return wanted, nil
	}
	for name := range strings.SplitSeq(only, ",") {
		if _, ok := wanted[name]; !ok {
			return nil, fmt.Errorf("-only %q: no such suite; there are: %s", name, strings.Join(slices.Sorted(maps.Keys(wanted)), ", "))
		}
		wanted[name] = true
	}
	return wanted, nil
}

func say(format string, args ...any) error {
	_, err := fmt.Fprintf(os.Stderr, format, args...)
	return err
}
