package wire

import "fmt"

// Method names a call.
type Method byte

// The methods. Those said to keep their stream use it after the answer.
const (
	// Configure (Sandbox -> Guest) gives the virtual machine its identity. It
	// is the first call of a session.
	Configure Method = iota + 1
	// Create (Container -> Empty) prepares a container without starting it.
	Create
	// Exec (Command -> Empty) prepares a process in a running container.
	Exec
	// Start (Ref -> Started) starts a prepared process.
	Start
	// Wait (Ref -> Exit) answers when the process has ended and its output
	// has been sent; it can be asked repeatedly.
	Wait
	// Kill (Signal -> Empty) sends a signal.
	Kill
	// Resize (Size -> Empty) sets a terminal's size.
	Resize
	// Delete (Ref -> Empty) forgets a process, which it ends if it still runs,
	// and with a container its files.
	Delete
	// Update (NewLimits -> Empty) changes a container's limits.
	Update
	// Freeze (Ref -> Empty) and Thaw (Ref -> Empty) stop and resume a
	// container's processes.
	Freeze
	Thaw
	// Stats (Ref -> Usage).
	Stats
	// Processes (Ref -> PIDs), numbered as the guest's agent sees them.
	Processes
	// PutVolume (Volume -> Empty) makes a volume, or replaces its content.
	PutVolume
	// GetFile (Ref -> Content) reads a volume that is one file.
	GetFile
	// Stdin, Stdout, Stderr (Ref -> Empty) keep their streams: a process's
	// standard input, output and errors. With a terminal there is no Stderr.
	// They must be opened before Start.
	Stdin
	Stdout
	Stderr
	// Forward (Address -> Empty) keeps its stream: a TCP connection to the
	// guest's loopback interface.
	Forward
	// Events (Empty -> Empty) keeps its stream: the guest writes one Event
	// after another.
	Events
	// Files (Ref -> Empty) keeps its stream: the guest sends the requests of
	// its kernel's FUSE protocol for a volume of kind Share, and the host its
	// answers.
	Files
	// Reset (Empty -> Empty) takes back what was made for containers that are
	// gone: volumes, layers and addresses. Configure may follow again.
	Reset
	// UseCPUs (Processors -> Empty) switches processors on and off.
	UseCPUs
	// SetClock (Correction -> Clock) corrects the clock.
	SetClock
)

var methodNames = [...]string{
	Configure: "configure", Create: "create", Exec: "exec", Start: "start", Wait: "wait", Kill: "kill",
	Resize: "resize", Delete: "delete", Update: "update", Freeze: "freeze", Thaw: "thaw", Stats: "stats",
	Processes: "processes", PutVolume: "put volume", GetFile: "get file", Stdin: "stdin", Stdout: "stdout",
	Stderr: "stderr", Forward: "forward", Events: "events", Files: "files", Reset: "reset", UseCPUs: "use processors",
	SetClock: "set the clock",
}

func (m Method) String() string {
	if int(m) < len(methodNames) && methodNames[m] != "" {
		return methodNames[m]
	}
	return fmt.Sprintf("method %d", byte(m))
}
