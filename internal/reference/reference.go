// Package reference writes the command reference from the command tree, one
// page per command of the first level with its subcommands below it, so that
// the pages say what the program says. They are kept in docs/reference/cli;
// "go generate" writes them anew and a test fails when they are old.
package reference

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

//go:generate go test -run TestPagesAreCurrent . -update

// Index is the name of the page that lists the others.
const Index = "README.md"

// Pages returns the pages by their file names.
func Pages(root *cobra.Command) map[string]string {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	pages := map[string]string{}
	var index strings.Builder
	fmt.Fprintf(&index, "# %s\n\n%s.\n\n| Command | |\n|---|---|\n", root.Name(), root.Short)
	for _, cmd := range listed(root) {
		file := cmd.Name() + ".md"
		fmt.Fprintf(&index, "| [`%s`](%s) | %s |\n", cmd.CommandPath(), file, cell(cmd.Short))
		var page strings.Builder
		write(&page, cmd, 1)
		pages[file] = page.String()
	}
	index.WriteString("\nEvery command takes these flags too:\n\n")
	index.WriteString(block(root.PersistentFlags().FlagUsages()))
	index.WriteString("\nExit codes are in [exit-codes.md](../exit-codes.md).\n")
	pages[Index] = index.String()
	return pages
}

// listed are the subcommands that help lists.
func listed(cmd *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			all = append(all, sub)
		}
	}
	return all
}

func write(page *strings.Builder, cmd *cobra.Command, level int) {
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	fmt.Fprintf(page, "%s %s\n\n%s\n", strings.Repeat("#", level), cmd.CommandPath(), paragraphs(text))
	if cmd.Runnable() {
		page.WriteString("\n" + block(cmd.UseLine()+"\n"))
	}
	if cmd.Example != "" {
		page.WriteString("\n" + block(cmd.Example+"\n"))
	}
	if flags := cmd.LocalNonPersistentFlags(); flags.HasAvailableFlags() {
		page.WriteString("\n" + block(flags.FlagUsages()))
	}
	if flags := cmd.PersistentFlags(); cmd.HasParent() && flags.HasAvailableFlags() {
		page.WriteString("\n" + block(flags.FlagUsages()))
	}
	for _, sub := range listed(cmd) {
		page.WriteString("\n")
		write(page, sub, level+1)
	}
}

// paragraphs keeps indented lines, which are examples, as they are.
func paragraphs(text string) string {
	var out []string
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if indented(part) {
			part = strings.TrimSuffix(block(part+"\n"), "\n")
		}
		out = append(out, part)
	}
	return strings.Join(out, "\n\n")
}

func indented(text string) bool {
	return strings.HasPrefix(text, "  ") || strings.HasPrefix(text, "\t")
}

func block(text string) string { return "```text\n" + strings.TrimRight(text, "\n") + "\n```\n" }

// cell keeps a table's row together.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
