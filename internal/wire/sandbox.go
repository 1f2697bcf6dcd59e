package wire

// Sandbox is what makes a copy of an idle virtual machine one pod's own.
type Sandbox struct {
	Hostname string
	Time     int64  // nanoseconds since 1970
	Entropy  []byte // fresh randomness for the kernel's generator
	Links    []Link
	Sysctls  []Pair
	ShmSize  uint64 // bytes of the /dev/shm that containers share
	CPUs     uint32 // processors to use, of those that the machine has
	Users    Users
}

func (m *Sandbox) fields(c *coder) {
	c.text(&m.Hostname)
	c.int64(&m.Time)
	c.bytes(&m.Entropy, 256)
	list(c, &m.Links, func(c *coder, v *Link) { v.fields(c) })
	pairs(c, &m.Sysctls)
	c.uint64(&m.ShmSize)
	c.uint32(&m.CPUs)
	m.Users.fields(c)
}

// Users are what users and groups the pod's containers have, if not the
// machine's: the ranges of a user namespace of the pod's own.
type Users struct{ UIDs, GIDs []IDRange }

func (m *Users) fields(c *coder) {
	list(c, &m.UIDs, func(c *coder, v *IDRange) { v.fields(c) })
	list(c, &m.GIDs, func(c *coder, v *IDRange) { v.fields(c) })
}

// IDRange is Size identities from Inside on, as the pod sees them, which are
// those of the machine from Outside on.
type IDRange struct{ Inside, Outside, Size uint32 }

func (m *IDRange) fields(c *coder) {
	c.uint32(&m.Inside)
	c.uint32(&m.Outside)
	c.uint32(&m.Size)
}

// Processors is how many the machine uses, of those that it has; at least one.
type Processors struct{ Count uint32 }

func (m *Processors) fields(c *coder) { c.uint32(&m.Count) }

// Correction is what is added to the clock, in nanoseconds; 0 adds nothing.
type Correction struct{ By int64 }

func (m *Correction) fields(c *coder) { c.int64(&m.By) }

// Clock is what the clock shows, in nanoseconds since 1970.
type Clock struct{ Time int64 }

func (m *Clock) fields(c *coder) { c.int64(&m.Time) }

// Link is a network interface, which is found by the hardware address that the
// virtual machine started with and becomes the pod's.
type Link struct {
	Name      string
	Hardware  []byte // the address it is found by
	MAC       []byte // the address it gets
	MTU       uint32
	Addresses []string // with prefix length
	Routes    []Route
}

func (m *Link) fields(c *coder) {
	c.text(&m.Name)
	c.bytes(&m.Hardware, 32)
	c.bytes(&m.MAC, 32)
	c.uint32(&m.MTU)
	texts(c, &m.Addresses)
	list(c, &m.Routes, func(c *coder, v *Route) { v.fields(c) })
}

// Route is one of a link's routes. An empty field is not set.
type Route struct {
	To      string // prefix; empty is the default route
	Gateway string
	Source  string
	Link    bool // To is reached directly (scope link)
	OnLink  bool // Gateway is reached directly, whatever the addresses say
	IPv6    bool
}

func (m *Route) fields(c *coder) {
	c.text(&m.To)
	c.text(&m.Gateway)
	c.text(&m.Source)
	c.bool(&m.Link)
	c.bool(&m.OnLink)
	c.bool(&m.IPv6)
}

// Pair is a name and its value.
type Pair struct{ Name, Value string }

func (m *Pair) fields(c *coder) {
	c.text(&m.Name)
	c.text(&m.Value)
}

func pairs(c *coder, v *[]Pair) { list(c, v, func(c *coder, v *Pair) { v.fields(c) }) }

// VolumeKind says what a volume is in the guest.
type VolumeKind = uint32

const (
	// Copy is content that the host copied in and keeps in step: folders,
	// files and links, in memory.
	Copy VolumeKind = iota + 1
	// SingleFile is one such file; what containers write to it can be read
	// back with GetFile.
	SingleFile
	// Scratch is an empty folder in the guest's memory of at most Size bytes,
	// shared by the containers that mount it.
	Scratch
	// Image is the read-only content of an image, whose Layers are disks.
	Image
	// Share is a folder of the host's, whose files the host serves over Files.
	Share
)

// Volume is made for the whole pod and mounted by name.
type Volume struct {
	ID      string
	Kind    VolumeKind
	Size    uint64 // bytes; 0 is half of the guest's memory
	Mode    uint32 // permission bits of its top folder
	UID     uint32
	GID     uint32
	Entries []Entry
	Layers  []uint32 // addresses of disks, the topmost first
}

func (m *Volume) fields(c *coder) {
	c.text(&m.ID)
	c.uint32(&m.Kind)
	c.uint64(&m.Size)
	c.uint32(&m.Mode)
	c.uint32(&m.UID)
	c.uint32(&m.GID)
	list(c, &m.Entries, func(c *coder, v *Entry) { v.fields(c) })
	list(c, &m.Layers, (*coder).uint32)
}

// EntryKind is a file's type.
type EntryKind = uint32

const (
	// Folder entries come before what they hold.
	Folder EntryKind = iota + 1
	File
	Symlink
)

// Entry is one file of a volume's content.
type Entry struct {
	Path     string // relative to the volume; empty for a SingleFile's own
	Kind     EntryKind
	Mode     uint32 // permission bits
	UID, GID uint32
	Data     []byte // content, or a Symlink's target
}

func (m *Entry) fields(c *coder) {
	c.text(&m.Path)
	c.uint32(&m.Kind)
	c.uint32(&m.Mode)
	c.uint32(&m.UID)
	c.uint32(&m.GID)
	c.bytes(&m.Data, MaxRequest)
}
