package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"redoubt.dev/redoubt/internal/cluster"
	"redoubt.dev/redoubt/internal/doctor"
)

func newDoctor(a *app) *cobra.Command {
	var asJSON bool
	opts := doctor.Options{HTTPPort: cluster.Defaults.HTTPPort, APIPort: cluster.Defaults.APIPort}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say whether this machine can run the platform, and what to do if not",
		Long: `Examine this machine: its kernel, control groups, protection, programs,
memory, disk and ports. What can be tried is tried, in namespaces of its own
that leave nothing behind. A virtual machine is booted, under KVM if it works.

Each finding is PASSED, WARNING (the platform runs, with less) or FAILED (it
does not), the last two with a remedy. The exit code is the number of
failures.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if opts.Instance, err = a.instance(); err != nil {
				return usage(err)
			}
			report := doctor.Examine(doctor.Gather(cmd.Context(), opts))
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "    ")
				err = encoder.Encode(report)
			} else {
				err = printReport(cmd.OutOrStdout(), report)
			}
			if err == nil && report.Failed > 0 {
				err = &ExitError{Code: report.Failed}
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print the findings as JSON")
	flags.IntVar(&opts.HTTPPort, "http-port", opts.HTTPPort, "port that the gateway would listen on")
	flags.IntVar(&opts.APIPort, "api-port", opts.APIPort, "port that the API server would listen on")
	return cmd
}

func printReport(out io.Writer, r doctor.Report) error {
	paint := plain
	if colours(out) {
		paint = coloured
	}
	var group string
	for _, f := range r.Findings {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(out, "\n%s\n", group)
		}
		fmt.Fprintf(out, "  %s  %-19s %s\n", paint(f.Level), f.Check, f.Detail)
		if f.Remedy != "" {
			fmt.Fprintf(out, "           remedy: %s\n", f.Remedy)
		}
	}
	_, err := fmt.Fprintf(out, "\n%d passed, %d %s, %d failed\n", r.Passed, r.Warnings, plural(r.Warnings, "warning"), r.Failed)
	return err
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// colours says whether out is a terminal whose user has not said no
// (https://no-color.org).
func colours(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
}

func plain(l doctor.Level) string { return fmt.Sprintf("%-7s", l) }

func coloured(l doctor.Level) string {
	const green, yellow, red = 32, 33, 31
	code := map[doctor.Level]int{doctor.Passed: green, doctor.Warning: yellow, doctor.Failed: red}[l]
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", code, plain(l))
}
