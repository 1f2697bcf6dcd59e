package main

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// module is one kernel module's file.
type module struct{ name, path string }

// resolve finds the named modules in the tree of a kernel's modules and, each
// before what needs it, those that they depend on. A name that the kernel has
// built in needs no file.
func resolve(tree string, names []string) ([]module, error) {
	files, err := find(tree)
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(tree, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	r := resolver{files: files, builtin: string(builtin), seen: map[string]bool{}}
	for _, name := range names {
		if err := r.add(name); err != nil {
			return nil, err
		}
	}
	return r.order, nil
}

type resolver struct {
	files   map[string]string // path by module name
	builtin string            // the kernel's list of those
	seen    map[string]bool
	order   []module
}

func (r *resolver) add(name string) error {
	if r.seen[name] {
		return nil
	}
	r.seen[name] = true
	path, ok := r.files[name]
	if !ok {
		if strings.Contains(strings.ReplaceAll(r.builtin, "-", "_"), "/"+name+".ko") {
			return nil
		}
		return fmt.Errorf("the kernel has no module %s", name)
	}
	needs, err := dependencies(path)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	for _, need := range needs {
		if err := r.add(need); err != nil {
			return err
		}
	}
	r.order = append(r.order, module{name, path})
	return nil
}

// find lists the modules below dir. The kernel takes - and _ for the same
// letter in their names.
func find(dir string) (map[string]string, error) {
	files := map[string]string{}
	return files, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			files[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
}

// dependencies reads a module's own list: the .modinfo section holds
// key=value strings, each ended by a zero byte.
func dependencies(path string) ([]string, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	section := file.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("%s is no kernel module", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	var needs []string
	for entry := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(entry, "depends="); ok && list != "" {
			needs = append(needs, strings.Split(strings.ReplaceAll(list, "-", "_"), ",")...)
		}
	}
	return needs, nil
}
