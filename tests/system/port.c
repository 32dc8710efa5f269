/* Gives pseudo-terminals the counters that a UART has (LD_PRELOAD): what TIOCGICOUNT answers stands in the file named in
 * PORT_COUNTERS, a struct serial_icounter_struct; tests/system/test_damaged_lines.py writes it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int (*real_ioctl)(int, unsigned long, ...);
static const void *counters;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("PORT_COUNTERS");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    real_ioctl = dlsym(RTLD_NEXT, "ioctl");
    if (file >= 0) {
        void *mapped = mmap(NULL, sizeof(struct serial_icounter_struct), PROT_READ, MAP_SHARED, file, 0);
        if (mapped != MAP_FAILED)
            counters = mapped;
        close(file);
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (request == TIOCGICOUNT && counters && isatty(fd)) {
        memcpy(argument, counters, sizeof(struct serial_icounter_struct));
        return 0;
    }
    return real_ioctl(fd, request, argument);
}
