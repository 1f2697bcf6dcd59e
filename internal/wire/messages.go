package wire

// Empty says nothing.
type Empty struct{}

func (*Empty) fields(*coder) {}

// Ref names a container, or with Exec one more process of it, or a volume.
// Names are the host's; the guest takes only [a-zA-Z0-9._-].
type Ref struct{ ID, Exec string }

func (m *Ref) fields(c *coder) {
	c.text(&m.ID)
	c.text(&m.Exec)
}

// Guest describes the guest's kernel.
type Guest struct {
	Release string // as uname -r prints it
	Memory  uint64 // bytes
	CPUs    uint32
}

func (m *Guest) fields(c *coder) {
	c.text(&m.Release)
	c.uint64(&m.Memory)
	c.uint32(&m.CPUs)
}

// Started tells a process's number as the guest's agent sees it.
type Started struct{ PID uint32 }

func (m *Started) fields(c *coder) { c.uint32(&m.PID) }

// Exit is a process's end.
type Exit struct {
	Status    uint32 // exit code, or 128 and the signal's number
	At        int64  // nanoseconds since 1970
	OOMKilled bool   // the kernel killed a process of the container for memory
}

func (m *Exit) fields(c *coder) {
	c.uint32(&m.Status)
	c.int64(&m.At)
	c.bool(&m.OOMKilled)
}

// Signal is sent to one process, or with All to all of the container.
type Signal struct {
	Ref
	Number uint32
	All    bool
}

func (m *Signal) fields(c *coder) {
	m.Ref.fields(c)
	c.uint32(&m.Number)
	c.bool(&m.All)
}

// Size is a terminal's, in characters.
type Size struct {
	Ref
	Width, Height uint32
}

func (m *Size) fields(c *coder) {
	m.Ref.fields(c)
	c.uint32(&m.Width)
	c.uint32(&m.Height)
}

// PIDs lists a container's processes.
type PIDs struct{ List []uint32 }

func (m *PIDs) fields(c *coder) { list(c, &m.List, (*coder).uint32) }

// Address is a TCP port on the guest's loopback interface.
type Address struct {
	Port uint32
	IPv6 bool
}

func (m *Address) fields(c *coder) {
	c.uint32(&m.Port)
	c.bool(&m.IPv6)
}

// Event is something that happened in the guest unasked.
type Event struct {
	ID   string // the container
	Kind EventKind
}

// EventKind says what happened.
type EventKind = uint32

// OutOfMemory: the kernel killed a process of the container for memory.
const OutOfMemory EventKind = 1

func (m *Event) fields(c *coder) {
	c.text(&m.ID)
	c.uint32(&m.Kind)
}

// Content is a file's, cut to MaxContent bytes.
type Content struct{ Data []byte }

// MaxContent is what Content carries at most.
const MaxContent = 64 << 10

func (m *Content) fields(c *coder) { c.bytes(&m.Data, MaxContent) }

// Usage is what a container uses, from its control group (version 2); the
// whole virtual machine's with an empty Ref.
type Usage struct {
	CPUMicros, UserMicros, SystemMicros uint64
	Periods, Throttled, ThrottledMicros uint64

	Memory, MemoryLimit, Swap           uint64 // bytes; no limit is the largest number
	Anonymous, File, InactiveFile       uint64 // bytes
	ActiveFile, ActiveAnon              uint64 // bytes
	InactiveAnon, Faults, MajorFaults   uint64
	OOMKills, Processes, ProcessesLimit uint64

	RootUsed, RootInodes uint64 // bytes and files in the writable layer
	// Links are the network interfaces, of the virtual machine's Usage only.
	Links []LinkUsage
}

func (m *Usage) fields(c *coder) {
	for _, v := range []*uint64{
		&m.CPUMicros, &m.UserMicros, &m.SystemMicros, &m.Periods, &m.Throttled, &m.ThrottledMicros,
		&m.Memory, &m.MemoryLimit, &m.Swap, &m.Anonymous, &m.File, &m.InactiveFile,
		&m.ActiveFile, &m.ActiveAnon, &m.InactiveAnon, &m.Faults, &m.MajorFaults,
		&m.OOMKills, &m.Processes, &m.ProcessesLimit, &m.RootUsed, &m.RootInodes,
	} {
		c.uint64(v)
	}
	list(c, &m.Links, func(c *coder, v *LinkUsage) { v.fields(c) })
}

// LinkUsage counts a network interface's traffic.
type LinkUsage struct {
	Name               string
	RxBytes, RxPackets uint64
	TxBytes, TxPackets uint64
}

func (m *LinkUsage) fields(c *coder) {
	c.text(&m.Name)
	c.uint64(&m.RxBytes)
	c.uint64(&m.RxPackets)
	c.uint64(&m.TxBytes)
	c.uint64(&m.TxPackets)
}
