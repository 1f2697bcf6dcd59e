package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// aptSources returns the machine's own sources of its distribution, in the
// format of sources.list. Where apt has not read them yet, it returns the
// name of the release, for its usual servers. Sources of other vendors are
// left out: an image of Debian's packages should not depend on what else the
// machine has installed.
func aptSources(ctx context.Context) (suite, sources string, err error) {
	id, codename, err := release()
	if err != nil {
		return "", "", err
	}
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets",
		"--format", "$(ORIGIN)\t$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)", "Created-By: Packages").Output()
	if err != nil {
		return "", "", fmt.Errorf("ask apt for its sources (apt-get indextargets): %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		field := strings.Split(strings.TrimSpace(line), "\t")
		if len(field) != 4 || !strings.EqualFold(field[0], id) {
			continue
		}
		source := fmt.Sprintf("deb %s%s %s %s\n", signedBy(id), field[1], field[2], field[3])
		if !slices.Contains(lines, source) {
			lines = append(lines, source)
		}
	}
	if len(lines) == 0 {
		return codename, "", nil
	}
	return "", strings.Join(lines, ""), nil
}

// signedBy names the distribution's own keys where they are in their usual
// place; apt's trusted keys serve otherwise.
func signedBy(id string) string {
	keys := "/usr/share/keyrings/" + id + "-archive-keyring.gpg"
	if _, err := os.Stat(keys); err != nil {
		return ""
	}
	return "[signed-by=" + keys + "] "
}

// Release is the distribution whose packages this machine builds images of,
// as in "debian bookworm"; empty when it is none of those that can.
func Release() string {
	id, codename, err := release()
	if err != nil {
		return ""
	}
	return id + " " + codename
}

// release reads the distribution's name and that of its release.
func release() (id, codename string, err error) {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		switch value = strings.Trim(value, `"'`); key {
		case "ID":
			id = value
		case "VERSION_CODENAME":
			codename = value
		}
	}
	if (id != "debian" && id != "ubuntu") || codename == "" {
		return "", "", errors.New("images of packages are built on Debian and Ubuntu; build it there and bring it here with: redoubt image build --save FILE, redoubt image import FILE")
	}
	return id, codename, nil
}

// aptProxies are the machine's own settings for apt's downloads.
func aptProxies(ctx context.Context) (settings []string) {
	out, err := exec.CommandContext(ctx, "apt-config", "dump", "--no-empty", "--format", "%F \"%v\";%n").Output()
	if err != nil {
		return nil // no settings then: downloading will show whether any were needed
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "Acquire::http") {
			settings = append(settings, line)
		}
	}
	return settings
}
