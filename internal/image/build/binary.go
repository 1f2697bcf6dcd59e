package build

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"redoubt.dev/redoubt/internal/image/layer"
)

// Binary makes an image of one static program, which runs as an unprivileged
// user unless the settings name another.
func Binary(program string, c Contents) (*Image, error) {
	if err := checkStatic(program); err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	return Program(data, "/"+filepath.Base(program), c)
}

// Program makes an image of a static program, which goes to place.
func Program(data []byte, place string, c Contents) (*Image, error) {
	tree := layer.New()
	tree.Bytes(place, 0o755, data)
	if _, err := os.Stat(Certificates); err == nil {
		tree.File(Certificates, Certificates)
	}
	if len(c.Settings.Entrypoint) == 0 {
		c.Settings.Entrypoint = []string{path.Clean(place)}
	}
	if c.Settings.User == "" {
		c.Settings.User = nobody
	}
	return finish(tree, c)
}

// machines are the ELF machines of the processors that Redoubt runs on.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// checkStatic refuses a program that an empty image could not start.
func checkStatic(program string) error {
	f, err := elf.Open(program)
	var format *elf.FormatError
	if errors.As(err, &format) || errors.Is(err, io.EOF) { // too short for a header
		return errors.New("it is not a Linux program (ELF): for a script, build an image of its interpreter's packages with --package and add it with --file")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Machine != machines[runtime.GOARCH] {
		return fmt.Errorf("it is for the processor %v, and this node has %s: build it for that", f.Machine, runtime.GOARCH)
	}
	for _, segment := range f.Progs {
		if segment.Type == elf.PT_INTERP {
			return errors.New("it needs shared libraries, which an empty image has not: build it static (Go: CGO_ENABLED=0, C: -static) or add it with --file to an image made with --package")
		}
	}
	return nil
}
