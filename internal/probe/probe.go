// Package probe tries, inside a container, what sandboxes differ in: what the
// kernel that answers can do, and what the sandbox keeps its workload from. It
// harms nothing where an attempt succeeds. Outside of a container it says what
// the machine lets this process do.
package probe

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Path is where the program that calls Run lies in its image.
const Path = "/redoubt-probe"

// Child is the argument with which the program that calls Run starts itself,
// for attempts that need a process: it must then do nothing and end.
const Child = "child"

// Works is what an attempt that succeeded is answered with; another answer says
// why it failed.
const Works = "yes"

// Report is what the attempts found.
type Report struct {
	// Kernel is the release that the kernel gives of itself.
	Kernel string `json:"kernel,omitempty"`
	// Boot is the kernel's own identity since it started; empty where it has
	// none.
	Boot string `json:"boot,omitempty"`
	// Can has each attempt's answer.
	Can map[string]string `json:"can,omitempty"`
	// Started is when the process did that measured Figures, by the sandbox's clock.
	Started time.Time `json:"started,omitzero"`
	// Figures has what was measured, by its name and unit.
	Figures map[string]float64 `json:"figures,omitempty"`
}

// Run makes all attempts.
func Run() Report {
	r := Report{Can: map[string]string{}}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		r.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		r.Boot = strings.TrimSpace(string(boot))
	}
	for name, try := range attempts {
		r.Can[name] = answer(try())
	}
	return r
}
