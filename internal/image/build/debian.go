package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"syscall"
	"time"

	"redoubt.dev/redoubt/internal/image/layer"
	"redoubt.dev/redoubt/internal/image/tarfile"
)

// Packages are packages of the machine's own distribution.
type Packages struct {
	// Names as apt knows them, "name=version" for one version; what they
	// depend on comes with them, what they recommend does not.
	Names []string
	// Exclude leaves files out: shell patterns of absolute paths, each
	// matching a file, or a folder with all that it holds.
	Exclude []string
	// Run is a command of the packages, with its arguments, that prepares the
	// unpacked files; it runs in them as its root folder.
	Run []string
}

// packageName keeps apt's patterns and options out of its arguments.
var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,127}(=[A-Za-z0-9.+:~-]{1,127})?$`)

// leftOut are what a container has no use for, and what mmdebstrap leaves
// behind of its own work.
var leftOut = []string{
	"/dev", "/proc", "/sys", "/run", "/boot", "/media", "/mnt", "/srv",
	"/etc/apt", "/etc/fstab", "/etc/hostname", "/etc/resolv.conf", "/etc/cron.*",
	"/var/cache", "/var/log", "/var/lib/apt", "/var/lib/dpkg", "/var/tmp",
	"/usr/share/man", "/usr/share/info", "/usr/share/locale", "/usr/share/doc-base",
	"/usr/share/lintian", "/usr/share/bash-completion", "/usr/share/doc/*/examples",
	"/usr/share/doc/*/changelog*", "/usr/share/doc/*/NEWS*", "/usr/share/doc/*/README*",
}

// treeLimits bound what the packages of one image unpack to.
var treeLimits = tarfile.Limits{Entries: 1_000_000, Bytes: 16 << 30}

// Debian makes an image of packages. They are downloaded from the sources of
// the distribution that the machine's apt trusts, and unpacked; their
// maintainer scripts are not run, neither here nor in the image. The same
// versions give the same image.
func Debian(ctx context.Context, p Packages, c Contents, progress Progress) (*Image, error) {
	keep, err := p.filter()
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", ".packages-*.tar")
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("hide temporary file: %w", err)
	}
	if err := bootstrap(ctx, p, f, progress); err != nil {
		return nil, err
	}
	progress("write layer")
	tree := layer.New()
	if err := tree.Tar(f, treeLimits, keep); err != nil {
		return nil, fmt.Errorf("read packages: %w", err)
	}
	for _, a := range c.Archives {
		file, err := a.add(ctx, tree, progress)
		if err != nil {
			return nil, err
		}
		defer file.Close()
	}
	return finish(tree, c)
}

// filter checks p and returns which paths it keeps.
func (p Packages) filter() (func(string) bool, error) {
	if len(p.Names) == 0 {
		return nil, errors.New("name at least one package")
	}
	for _, name := range p.Names {
		if !packageName.MatchString(name) {
			return nil, fmt.Errorf("%q is no name of a package", name)
		}
	}
	patterns := append(leftOut[:len(leftOut):len(leftOut)], p.Exclude...)
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil || !path.IsAbs(pattern) {
			return nil, fmt.Errorf("%q is no pattern for absolute paths", pattern)
		}
	}
	return func(name string) bool {
		for dir := "/" + name; dir != "/"; dir = path.Dir(dir) {
			for _, pattern := range patterns {
				if match, _ := path.Match(pattern, dir); match {
					return false
				}
			}
		}
		return true
	}, nil
}

// mergedUsr makes /bin and its like links into /usr, before anything is unpacked.
// Every release since Debian 12 has them, and the later ones in a package that an
// image need not have: without them no program finds its loader.
const mergedUsr = `for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d" && ln -s "usr/$d" "$1/$d" || exit; done`

// bootstrap writes the packages' files as a tar stream to out.
func bootstrap(ctx context.Context, p Packages, out *os.File, progress Progress) error {
	progress("ask apt for its sources")
	suite, sources, err := aptSources(ctx)
	if err != nil {
		return err
	}
	mode := "auto"
	if os.Geteuid() == 0 {
		mode = "root" // needs no namespaces, which containers often lack
	}
	args := []string{
		"--mode=" + mode, "--variant=extract", "--format=tar", "--skip=output/dev,output/mknod",
		"--include=" + strings.Join(p.Names, ","), "--setup-hook=" + mergedUsr,
	}
	if len(p.Run) > 0 {
		args = append(args, "--extract-hook=chroot \"$1\" "+quote(p.Run))
	}
	for _, setting := range aptProxies(ctx) {
		args = append(args, "--aptopt="+setting)
	}
	args = append(args, suite, "-")
	if sources != "" {
		args = append(args, "-")
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	cmd.Stdin = strings.NewReader(sources)
	cmd.Stdout = out
	// It removes its temporary folder when it is asked to end.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return runWatched(cmd, progress)
}

// quote writes a command for the shell.
func quote(command []string) string {
	quoted := make([]string, len(command))
	for n, word := range command {
		quoted[n] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// runWatched runs mmdebstrap and retells its steps.
func runWatched(cmd *exec.Cmd, progress Progress) error {
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	err = cmd.Start()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("the program mmdebstrap is missing; install it with: apt-get install mmdebstrap")
	}
	if err != nil {
		return fmt.Errorf("start mmdebstrap: %w", err)
	}
	faults := watch(stderr, progress)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("mmdebstrap: %w: %s", err, lastLines(faults))
	}
	return nil
}

// watch turns the beginnings of mmdebstrap's steps into progress and returns
// the errors it and apt printed.
func watch(r io.Reader, progress Progress) (faults string) {
	steps := map[string]string{
		"I: running apt-get update": "read package lists",
		"I: downloading packages":   "download packages",
		"I: extracting archives":    "unpack packages",
		"I: running --extract-hook": "prepare files",
		"I: creating tarball":       "collect files",
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "E: ") {
			faults += " " + line
		}
		for start, step := range steps {
			if strings.HasPrefix(line, start) {
				progress(step)
			}
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line too long to scan must not stop the program
	return faults
}
