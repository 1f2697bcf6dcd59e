package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/guest/launch"
	"redoubt.dev/redoubt/internal/wire"
)

// shmVolume is the /dev/shm that containers share.
const shmVolume = "shm"

// configure makes the machine one pod's.
func (a *agent) configure(s *wire.Sandbox) (*wire.Guest, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := errors.Join(setClock(s.Time), reseed(s.Entropy)); err != nil {
		return nil, err
	}
	if s.Hostname != "" {
		if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
			return nil, fmt.Errorf("set the hostname: %w", err)
		}
	}
	for i := range s.Links {
		if err := configureLink(&s.Links[i]); err != nil {
			return nil, fmt.Errorf("network interface %s: %w", s.Links[i].Name, err)
		}
	}
	for _, p := range s.Sysctls {
		if err := sysctl(p); err != nil {
			return nil, err
		}
	}
	if err := a.makeUsers(s.Users); err != nil {
		return nil, fmt.Errorf("make the pod's user namespace: %w", err)
	}
	if err := errors.Join(useCPUs(s.CPUs), a.makeShm(s.ShmSize)); err != nil {
		return nil, err
	}
	return describe()
}

// useCPUs switches on processors until count are in use. The first always is.
func useCPUs(count uint32) error {
	for n := uint32(1); n < count; n++ {
		if err := os.WriteFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/online", n), []byte("1"), 0); err != nil {
			return fmt.Errorf("switch processor %d on: %w", n, err)
		}
	}
	return nil
}

// setCPUs switches processors on and off until so many are in use. The first
// always is.
func setCPUs(p *wire.Processors) (*wire.Empty, error) {
	if err := useCPUs(p.Count); err != nil {
		return nil, err
	}
	others, err := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/online")
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, file := range others {
		n, err := strconv.ParseUint(strings.TrimPrefix(filepath.Base(filepath.Dir(file)), "cpu"), 10, 32)
		if err == nil && n > 0 && uint32(n) >= p.Count {
			errs = append(errs, os.WriteFile(file, []byte("0"), 0))
		}
	}
	return &wire.Empty{}, errors.Join(errs...)
}

// makeShm makes the pod's /dev/shm.
func (a *agent) makeShm(size uint64) error {
	v := &wire.Volume{ID: shmVolume, Kind: wire.Scratch, Size: size, Mode: 0o1777}
	a.users.own(v)
	made := &volume{kind: v.Kind, path: filepath.Join(volumesDir, shmVolume)}
	if err := a.makeVolume(made, v); err != nil {
		return fmt.Errorf("make shared memory: %w", err)
	}
	a.volumes[shmVolume] = made
	return nil
}

// reseed mixes fresh randomness into the kernel's generator, which is the same
// in every copy of a machine, and has it used at once.
func reseed(entropy []byte) error {
	if len(entropy) == 0 {
		return nil
	}
	f, err := os.OpenFile("/dev/urandom", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// struct rand_pool_info: bits, bytes, content.
	info := make([]byte, 8+len(entropy))
	*(*[2]int32)(unsafe.Pointer(&info[0])) = [2]int32{int32(8 * len(entropy)), int32(len(entropy))}
	copy(info[8:], entropy)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&info[0]))); errno != 0 {
		return fmt.Errorf("add entropy: %w", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDRESEEDCRNG, 0); errno != 0 {
		return fmt.Errorf("reseed: %w", errno)
	}
	return nil
}

func sysctl(p wire.Pair) error {
	path := filepath.Join("/proc/sys", strings.ReplaceAll(p.Name, ".", "/"))
	if !strings.HasPrefix(path, "/proc/sys/") {
		return fmt.Errorf("sysctl %s: no such setting", p.Name)
	}
	if err := os.WriteFile(path, []byte(p.Value), 0); err != nil {
		return fmt.Errorf("sysctl %s: %w", p.Name, err)
	}
	return nil
}

// holdPIDNamespace starts the process that the pod's PID namespace begins
// with, for the first container that wants to be in it.
func (a *agent) holdPIDNamespace() error {
	p := launch.New(unix.CLONE_NEWPID, -1)
	p.Pause()
	a.holder = newProcess(&stdio{})
	return a.processes.start(p, a.holder)
}

// releasePIDNamespace ends that process, if there is one.
func (a *agent) releasePIDNamespace() error {
	if a.holder == nil {
		return nil
	}
	err := a.holder.signal(uint32(unix.SIGKILL))
	a.holder.await()
	a.holder = nil
	return err
}

func describe() (*wire.Guest, error) {
	var name unix.Utsname
	var info unix.Sysinfo_t
	var inUse unix.CPUSet
	if err := errors.Join(unix.Uname(&name), unix.Sysinfo(&info), unix.SchedGetaffinity(0, &inUse)); err != nil {
		return nil, err
	}
	release, _, _ := bytes.Cut(name.Release[:], []byte{0})
	return &wire.Guest{
		Release: string(release),
		Memory:  info.Totalram * uint64(info.Unit),
		CPUs:    uint32(inUse.Count()),
	}, nil
}
