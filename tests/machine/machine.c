/* Stands between the daemon and its machine (LD_PRELOAD): another wall clock, a disk that takes its time.
 *
 * The file named in MACHINE_CONTROL holds what is to be so, as struct control; tests/machine/shim.py writes it. The
 * monotonic clock is left alone: on Linux it stands still while a computer sleeps, so that a sleep looks to a program
 * like a step of the wall clock.
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

struct control {
    volatile int64_t offset_ns; /* added to the wall clock */
    volatile int64_t rate_ppb;  /* and how fast it gains, since since_ns of the monotonic clock */
    volatile int64_t since_ns;
    volatile int64_t hold_disk; /* no fsync returns while this is not 0 */
};

static const struct control nothing;
static const struct control *control = &nothing;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("MACHINE_CONTROL");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    if (file >= 0) {
        void *mapped = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, file, 0);
        if (mapped != MAP_FAILED)
            control = mapped;
        close(file);
    }
}

static int64_t ns_of(const struct timespec *t) { return t->tv_sec * INT64_C(1000000000) + t->tv_nsec; }

int clock_gettime(clockid_t clock, struct timespec *t)
{
    int failed = real_gettime(clock, t);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        struct timespec mono;
        real_gettime(CLOCK_MONOTONIC, &mono);
        int64_t gained = (ns_of(&mono) - control->since_ns) / 1000 * control->rate_ppb / 1000000;
        int64_t now = ns_of(t) + control->offset_ns + (control->rate_ppb ? gained : 0);
        t->tv_sec = now / 1000000000;
        t->tv_nsec = now % 1000000000;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec t;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    tv->tv_sec = t.tv_sec;
    tv->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (where)
        *where = t.tv_sec;
    return t.tv_sec;
}

static void wait_for_disk(void)
{
    while (control->hold_disk)
        usleep(1000);
}

int fsync(int file)
{
    wait_for_disk();
    return real_fsync(file);
}

int fdatasync(int file)
{
    wait_for_disk();
    return real_fdatasync(file);
}
