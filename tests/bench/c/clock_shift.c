/* Sets the real-time clock for one program alone: preloaded (LD_PRELOAD), it adds to CLOCK_REALTIME what stands in a file.
 *
 * The file named by CLOCK_SHIFT holds 8 bytes of signed nanoseconds; who writes another number there has set the clock,
 * at once and as far as that program and its children can see. CLOCK_MONOTONIC, timers and files' times stay as they
 * are, as they do when a clock is really set. A machine's own clock cannot be set for a test: all that runs would see it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const long SECOND = 1000000000L;
static volatile int64_t *shift_ns;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    static int64_t none;
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    shift_ns = &none;
    const char *path = getenv("CLOCK_SHIFT");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *held = mmap(NULL, sizeof *shift_ns, PROT_READ, MAP_SHARED, file, 0);
        if (held != MAP_FAILED)
            shift_ns = held;
        close(file);
    }
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (!real)
        begin();
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t by_ns = *shift_ns, shifted_ns = now->tv_nsec + by_ns % SECOND; /* read once: it may change */
        int64_t carry = shifted_ns < 0 ? -1 : shifted_ns / SECOND;
        now->tv_sec += by_ns / SECOND + carry;
        now->tv_nsec = shifted_ns - carry * SECOND;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec read;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &read);
    if (!failed) {
        now->tv_sec = read.tv_sec;
        now->tv_usec = read.tv_nsec / 1000;
    }
    return failed;
}

time_t time(time_t *now)
{
    struct timespec read;
    clock_gettime(CLOCK_REALTIME, &read);
    if (now)
        *now = read.tv_sec;
    return read.tv_sec;
}
