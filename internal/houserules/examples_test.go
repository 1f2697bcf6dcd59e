package houserules

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"redoubt.dev/redoubt/internal/cli"
	"redoubt.dev/redoubt/internal/manifest"
)

var block = regexp.MustCompile("(?ms)^ *```(\\w+)\n(.*?)^ *```")

// TestManifestsParse reads every manifest in the documentation, in pages and
// in files of their own.
func TestManifestsParse(t *testing.T) {
	files(t, ".md", func(file string, data []byte) {
		for _, m := range block.FindAllSubmatchIndex(data, -1) {
			if string(data[m[2]:m[3]]) == "yaml" {
				parse(t, file, data[m[4]:m[5]])
			}
		}
	})
	files(t, ".yaml", func(file string, data []byte) {
		if strings.HasPrefix(file, "docs/") {
			parse(t, file, data)
		}
	})
}

func parse(t *testing.T, file string, data []byte) {
	t.Helper()
	objects, err := manifest.Decode(data)
	if err != nil || len(objects) == 0 {
		t.Errorf("%s: not a manifest (%v):\n%s", file, err, data)
	}
	for _, o := range objects {
		if o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "" {
			t.Errorf("%s: an object lacks apiVersion, kind or metadata.name:\n%s", file, data)
		}
	}
}

// TestCommandsParse tries every redoubt command in the documentation's sh
// blocks on the real command tree: names, numbers of arguments and flags.
func TestCommandsParse(t *testing.T) {
	var tried int
	files(t, ".md", func(file string, data []byte) {
		for _, m := range block.FindAllSubmatchIndex(data, -1) {
			if string(data[m[2]:m[3]]) != "sh" {
				continue
			}
			script := strings.ReplaceAll(string(data[m[4]:m[5]]), "\\\n", " ")
			for command := range strings.Lines(script) {
				args, ok := redoubt(command)
				if !ok {
					continue
				}
				tried++
				if err := try(args); err != nil {
					t.Errorf("%s:%d: %s: %v", file, line(data, m[0]), strings.TrimSpace(command), err)
				}
			}
		}
	})
	if tried == 0 {
		t.Error("no page shows a command; has the way they are written changed?")
	}
}

// redoubt returns the arguments of a line that runs redoubt.
func redoubt(command string) ([]string, bool) {
	command, _, _ = strings.Cut(command, " #")
	words := split(strings.TrimPrefix(strings.TrimSpace(command), "$ "))
	for len(words) > 0 && (words[0] == "sudo" || strings.Contains(words[0], "=")) {
		words = words[1:]
	}
	if len(words) == 0 || strings.TrimPrefix(words[0], "bin/") != "redoubt" {
		return nil, false
	}
	for i, word := range words {
		if word == "|" || word == ">" || word == "&&" {
			words = words[:i]
			break
		}
	}
	return words[1:], true
}

var word = regexp.MustCompile(`(?:[^\s'"]|'[^']*'|"[^"]*")+`)

// split is what a shell does to the simple lines of documentation.
func split(command string) []string {
	words := word.FindAllString(command, -1)
	for i := range words {
		words[i] = strings.NewReplacer("'", "", `"`, "").Replace(words[i])
	}
	return words
}

func try(args []string) error {
	cmd, rest, err := cli.New().Find(args)
	if err != nil || cmd.DisableFlagParsing {
		return err
	}
	if !cmd.Runnable() {
		return errors.New("a subcommand is missing")
	}
	if err := cmd.ParseFlags(rest); err != nil && !errors.Is(err, pflag.ErrHelp) {
		return err
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	if cmd.Flags().Changed("help") {
		return nil
	}
	return required(cmd)
}

func required(cmd *cobra.Command) error { return cmd.ValidateRequiredFlags() }

func TestTheCommandCheckCatches(t *testing.T) {
	for command, good := range map[string]bool{
		"redoubt up --name other":                      true,
		"$ sudo bin/redoubt down --purge --yes # ends": true,
		"redoubt kubectl get pods -A":                  true,
		"redoubt up --nmae other":                      false,
		"redoubt upp":                                  false,
		"redoubt logs":                                 false,
		"redoubt version -o json | jq .redoubt":        true,
	} {
		args, ok := redoubt(command)
		if !ok {
			t.Errorf("%q is not seen as a command", command)
		} else if err := try(args); (err == nil) != good {
			t.Errorf("%q: %v", command, err)
		}
	}
}
