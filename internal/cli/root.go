// Package cli is Redoubt's command line: one file per noun, each turning flags
// into a call of the package that does the work.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"redoubt.dev/redoubt/internal/instance"
)

// app carries the global flags to every command.
type app struct {
	name    string
	dataDir string
}

// instance returns the instance that the global flags name.
func (a *app) instance() (instance.Instance, error) {
	if a.name == "" { // as of a variable that is not set: not the default one, which it could purge
		return instance.Instance{}, errors.New("--name is empty; name an instance, or leave the flag out")
	}
	return instance.New(a.name, a.dataDir)
}

// ExitError ends the program with a chosen exit code; commands whose code
// means something to scripts return one.
type ExitError struct {
	Code int
	Err  error // printed unless nil
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// New builds the whole command tree.
func New() *cobra.Command {
	cobra.EnableCommandSorting = false // groups list what comes first first
	a := &app{}
	root := &cobra.Command{
		Use:   "redoubt",
		Short: "Secure serverless on real Kubernetes: every workload in the sandbox it names",
		Long: `Redoubt runs services and functions on real Kubernetes, each in the sandbox that
its RuntimeClass names, and never in a weaker one.`,
		Example: `  redoubt up --detach      boot the platform
  redoubt demo             see a pod, a service and a function in every sandbox
  redoubt down --purge     remove all of it`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.name, "name", instance.DefaultName, "instance to act on")
	flags.StringVar(&a.dataDir, "data-dir", "", "folder of the instance's data (default /var/lib/redoubt/NAME)")
	_ = root.RegisterFlagCompletionFunc("name", completeInstances)
	addGroup(root, "platform", "The platform on this machine:",
		newDoctor(a), newUp(a), newStatus(a), newDemo(a), newLogs(a), newAudit(a), newCertificate(a), newDown(a))
	addGroup(root, "workloads", "What runs on it:",
		newService(a), newFunction(a), newTrigger(a), newAutoscale(a), newInvocation(a), newRevision(a), newRoute(a), newRuntimeClass(a), newTenant(a), newImage(a), newKubectl(a), newKubeconfig(a))
	addGroup(root, "roles", "Roles, which up starts and any cluster can run:",
		newController(), newGateway(), newNode())
	root.AddCommand(newVersion(a), newCompletion())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	refuseArguments(root)
	return root
}

// addGroup lists commands together in help, in the order given.
func addGroup(root *cobra.Command, id, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, cmd := range commands {
		cmd.GroupID = id
		root.AddCommand(cmd)
	}
}

// refuseArguments makes wrong arguments of any command errors of usage, as
// wrong flags are. A command that only groups others takes none of its own.
func refuseArguments(cmd *cobra.Command) {
	check := cmd.Args
	if cmd.HasSubCommands() {
		check = unknownCommand
		if cmd.RunE == nil {
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	if check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			var worded *ExitError
			if err == nil || errors.As(err, &worded) {
				return err
			}
			return usage(wrongArguments(cmd, args)) // cobra counts them, and does not say what they are
		}
	}
	for _, sub := range cmd.Commands() {
		refuseArguments(sub)
	}
}

func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage(fmt.Errorf("there is no command %q; see: %s --help", cmd.CommandPath()+" "+args[0], cmd.CommandPath()))
}

func wrongArguments(cmd *cobra.Command, args []string) error {
	_, wanted, _ := strings.Cut(cmd.Use, " ")
	if wanted == "" {
		wanted = "no arguments"
	}
	if len(args) > 0 {
		wanted += fmt.Sprintf(", not %q", strings.Join(args, " "))
	}
	return fmt.Errorf("'%s' takes %s; see: %s --help", calledAs(cmd), wanted, cmd.CommandPath())
}

// calledAs is what a command is called by, without the program's name.
func calledAs(cmd *cobra.Command) string {
	_, name, _ := strings.Cut(cmd.CommandPath(), " ")
	return name
}

// Main runs the command line and returns the exit code: 0 done, 1 failed, 2
// called wrongly, or the code a command chose.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks; the second has its usual effect, since a command
	// may wait for what knows no ctx, such as the standard input.
	context.AfterFunc(ctx, stop)
	err := New().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var exit *ExitError
	if errors.As(err, &exit) {
		if exit.Err != nil {
			fmt.Fprintln(os.Stderr, "Error:", exit.Err)
		}
		return exit.Code
	}
	fmt.Fprintln(os.Stderr, "Error:", err)
	return 1
}
