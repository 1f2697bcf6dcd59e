/*
 * Loaded into QEMU before its own libraries (LD_PRELOAD), in machines that are
 * copies of a template: opens the template's memory for reading only.
 *
 * QEMU before 8.2 opens the file of a private (copy-on-write) mapping for
 * writing although it never writes it. A file that QEMU can open for writing
 * is one that a guest which has broken out can change under every other
 * machine. With this, root alone can write the file.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char memory[] = "/memory";
static int memory_fd = -1;

static int open_any(const char *path, int flags, mode_t mode)
{
	int fd;

	if (strcmp(path, memory) == 0)
		flags = O_RDONLY | O_CLOEXEC;
	fd = syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	if (fd >= 0 && strcmp(path, memory) == 0)
		memory_fd = fd;
	return fd;
}

int open64(const char *path, int flags, ...)
{
	mode_t mode;
	va_list args;

	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	return open_any(path, flags, mode);
}

int __open64_2(const char *path, int flags)
{
	return open_any(path, flags, 0);
}

/*
 * QEMU gives back memory that the guest has freed by making a hole in the file
 * and then dropping the mapping's pages. The second step alone is right for a
 * private copy: the pages are the template's again.
 */
int fallocate64(int fd, int mode, off_t offset, off_t length)
{
	if (fd == memory_fd)
		return 0;
	return syscall(SYS_fallocate, fd, mode, offset, length);
}
