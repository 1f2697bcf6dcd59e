// Package vmm is the contract between Redoubt's VM runtime and a hypervisor:
// what a virtual machine is made of, and what can be done to one that runs.
//
// A Machine is one virtual machine and the process that is it. It starts with
// a processor, memory, a byte channel to the agent inside, and controllers
// without anything behind them; disks are added while it runs. It ends by
// itself, by Kill, or with the process that started it, whichever is first.
// Package qemu is the hypervisor there is; package template makes machines
// that start as copies of one that has booted already.
package vmm

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// Errors that callers tell apart.
var (
	// ErrEnded says that the machine is gone and can do nothing any more.
	ErrEnded = errors.New("the virtual machine has ended")
	// ErrNoRoom says that every place for a device of that kind is taken.
	ErrNoRoom = errors.New("no place is left for another device")
)

// MaxDisks is how many disks one machine can have at a time.
const MaxDisks = 255

// AgentPort is the name of the virtio-serial port at whose other end is
// Machine.Channel; the guest finds it under /sys/class/virtio-ports/*/name.
const AgentPort = "redoubt.agent"

// MAC is the hardware address that every machine's network card starts with.
// The agent sets the pod's own when it configures the card.
const MAC = "02:52:44:42:54:01"

// Machine is one running virtual machine. Its methods may be called from
// several goroutines; after the machine's end they return ErrEnded.
type Machine interface {
	// Channel is the byte stream to the agent in the guest. There is one, the
	// same at each call; whoever uses it closes it. It reads EOF once the
	// machine has ended.
	Channel() net.Conn
	// AddDisk plugs a disk in and returns where the guest finds it. The guest
	// may take some milliseconds to notice. The machine does not close
	// disk.File; the caller may as soon as AddDisk returns.
	AddDisk(ctx context.Context, disk Disk) (DiskAddress, error)
	// RemoveDisk takes a disk away, which the guest must have unmounted: one in
	// use fails every later access inside the guest. It returns once nothing
	// in the machine's process holds the file any more.
	RemoveDisk(ctx context.Context, address DiskAddress) error
	// Pause stops the machine's processors and devices; Resume lets them go on.
	// Both are idempotent.
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	// SetMemory asks the guest to have so many bytes of memory, between what the
	// machine started with and its shape's maximum. It returns the size asked
	// for, rounded down to whole steps of some MiB; the guest gets there in its
	// own time, or only in part when what it should give back is in use.
	SetMemory(ctx context.Context, bytes int64) (int64, error)
	// PID is the process that is the machine, as the caller's PID namespace
	// numbers it.
	PID() int
	// Done is closed when the machine has ended and everything that belonged
	// to it is gone.
	Done() <-chan struct{}
	// Exit says how the machine ended; it is valid once Done is closed.
	Exit() Exit
	// Kill ends the machine at once and waits for its end. It is idempotent
	// and needs nothing of the guest or of the hypervisor's cooperation.
	Kill()
}

// DiskAddress is where the guest finds a disk: the SCSI target number on the
// first virtio-scsi controller (channel 0, LUN 0), so
// /sys/class/scsi_device/*:0:<address>:0/device/block holds its name.
type DiskAddress int

// Disk is a block device for the guest, whose size is the file's.
type Disk struct {
	// File is a regular file or a block device. For a read-only disk it should
	// be open for reading only: then no fault of the hypervisor can write it.
	File *os.File
	// ReadOnly says that the guest may not write.
	ReadOnly bool
}

// Exit is how a machine ended.
type Exit struct {
	// At is when.
	At time.Time
	// Reason is a sentence part for people: "the guest powered off", "killed
	// by signal 9 (killed)".
	Reason string
	// Console is the end of what the guest's kernel wrote, at most 8 KiB. It is
	// text from the guest: show it as such, decide nothing by it.
	Console string
}
