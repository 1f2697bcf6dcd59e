package wire

// Container is all that the guest needs to run one. The host builds it field
// by field from the container's specification, so what is not named here does
// not exist in the guest.
type Container struct {
	ID       string
	Root     Root
	Process  Process
	Mounts   []Mount
	Devices  []Device
	Masked   []string // paths that read as empty
	ReadOnly []string // paths that cannot be written
	Sysctls  []Pair
	Limits   Limits
	Hostname string
	// Which of the pod's namespaces the container uses instead of its own.
	PodPID, PodIPC, PodUTS bool
	// Privileged containers may use every device of the virtual machine.
	Privileged bool
}

func (m *Container) fields(c *coder) {
	c.text(&m.ID)
	m.Root.fields(c)
	m.Process.fields(c)
	list(c, &m.Mounts, func(c *coder, v *Mount) { v.fields(c) })
	list(c, &m.Devices, func(c *coder, v *Device) { v.fields(c) })
	texts(c, &m.Masked)
	texts(c, &m.ReadOnly)
	pairs(c, &m.Sysctls)
	m.Limits.fields(c)
	c.text(&m.Hostname)
	c.bool(&m.PodPID)
	c.bool(&m.PodIPC)
	c.bool(&m.PodUTS)
	c.bool(&m.Privileged)
}

// Root is a container's root file system: read-only layers and above them a
// writable one in the guest's memory.
// A disk's address is its SCSI target number on the first controller.
type Root struct {
	Layers   []uint32 // addresses of disks, the topmost first
	Size     uint64   // bytes that may be written
	ReadOnly bool
}

func (m *Root) fields(c *coder) {
	list(c, &m.Layers, (*coder).uint32)
	c.uint64(&m.Size)
	c.bool(&m.ReadOnly)
}

// Process is a program and what it may do.
type Process struct {
	Args, Env     []string
	Dir           string
	Terminal      bool
	Width, Height uint32 // of the terminal, in characters
	// Which of the standard files have a stream; the others are /dev/null.
	Stdin, Stdout, Stderr bool
	UID, GID              uint32
	Groups                []uint32
	Umask                 uint32
	Caps                  Capabilities
	NoNewPrivs            bool
	Limits                []ResourceLimit
	OOMScore              int64
	// Seccomp is a compiled filter: the kernel's struct sock_filter, 8 bytes
	// each, least significant byte first. Empty is no filter.
	Seccomp []byte
}

func (m *Process) fields(c *coder) {
	texts(c, &m.Args)
	texts(c, &m.Env)
	c.text(&m.Dir)
	c.bool(&m.Terminal)
	c.uint32(&m.Width)
	c.uint32(&m.Height)
	c.bool(&m.Stdin)
	c.bool(&m.Stdout)
	c.bool(&m.Stderr)
	c.uint32(&m.UID)
	c.uint32(&m.GID)
	list(c, &m.Groups, (*coder).uint32)
	c.uint32(&m.Umask)
	m.Caps.fields(c)
	c.bool(&m.NoNewPrivs)
	list(c, &m.Limits, func(c *coder, v *ResourceLimit) { v.fields(c) })
	c.int64(&m.OOMScore)
	c.bytes(&m.Seccomp, 4096*8)
}

// Capabilities are sets of the kernel's capability numbers, one bit each.
type Capabilities struct{ Bounding, Effective, Permitted, Inheritable, Ambient uint64 }

func (m *Capabilities) fields(c *coder) {
	c.uint64(&m.Bounding)
	c.uint64(&m.Effective)
	c.uint64(&m.Permitted)
	c.uint64(&m.Inheritable)
	c.uint64(&m.Ambient)
}

// ResourceLimit is one of setrlimit's, by its number.
type ResourceLimit struct {
	Kind       uint32
	Soft, Hard uint64
}

func (m *ResourceLimit) fields(c *coder) {
	c.uint32(&m.Kind)
	c.uint64(&m.Soft)
	c.uint64(&m.Hard)
}

// Mount is a file system in a container. With Volume it is that volume or a
// path in it; else a new one of type Type.
type Mount struct {
	Target string
	Volume string
	Path   string // within the volume
	Type   string
	Flags  uint64 // mount(2)'s MS_ flags
	Data   string // the file system's own options
}

func (m *Mount) fields(c *coder) {
	c.text(&m.Target)
	c.text(&m.Volume)
	c.text(&m.Path)
	c.text(&m.Type)
	c.uint64(&m.Flags)
	c.text(&m.Data)
}

// Device is a device node in a container: a character device that the guest's
// kernel has, or with Block the disk at an address.
type Device struct {
	Path         string
	Block        bool
	Disk         uint32
	Major, Minor uint32
	Mode         uint32 // permission bits
	UID, GID     uint32
}

func (m *Device) fields(c *coder) {
	c.text(&m.Path)
	c.bool(&m.Block)
	c.uint32(&m.Disk)
	c.uint32(&m.Major)
	c.uint32(&m.Minor)
	c.uint32(&m.Mode)
	c.uint32(&m.UID)
	c.uint32(&m.GID)
}

// Limits are a container's control group's. Zero is no limit.
type Limits struct {
	Memory    uint64 // bytes
	Quota     uint64 // microseconds of CPU in each Period
	Period    uint64 // microseconds
	Weight    uint64 // share of the CPU, 1 to 10000
	Processes uint64
	CPUs      string // as in cpuset.cpus
}

func (m *Limits) fields(c *coder) {
	c.uint64(&m.Memory)
	c.uint64(&m.Quota)
	c.uint64(&m.Period)
	c.uint64(&m.Weight)
	c.uint64(&m.Processes)
	c.text(&m.CPUs)
}

// NewLimits replaces a container's.
type NewLimits struct {
	ID     string
	Limits Limits
}

func (m *NewLimits) fields(c *coder) {
	c.text(&m.ID)
	m.Limits.fields(c)
}

// Command is one more process of a container.
type Command struct {
	Ref
	Process Process
}

func (m *Command) fields(c *coder) {
	m.Ref.fields(c)
	m.Process.fields(c)
}

// WriteEvent sends e on an Events stream.
func WriteEvent(s Stream, e *Event) error {
	body, err := encode(e)
	if err != nil {
		return err
	}
	return send(s, ok, body)
}

// ReadEvent reads the next event.
func ReadEvent(s Stream) (*Event, error) {
	_, body, err := receive(s, maxEvent)
	if err != nil {
		return nil, err
	}
	e := new(Event)
	return e, decode(body, e)
}

// maxEvent is an event's size at most, in bytes.
const maxEvent = 1 << 10
