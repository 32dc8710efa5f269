/* How late the kernel wakes a C program: the yardstick for start lateness.
 *
 *   sleeper EVERY_US SECONDS
 *
 * Sleeps until each slot of a grid with clock_nanosleep(TIMER_ABSTIME) and prints, in microseconds: median, 99th
 * percentile and largest of how late it woke.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int larger(const void *one, const void *other)
{
    long a = *(const long *)one, b = *(const long *)other;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    long every_ns = atol(argv[1]) * 1000, slots = atol(argv[2]) * 1000000000L / every_ns;
    long *late = malloc(slots * sizeof *late);
    struct timespec due, now;
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (long slot = 0; slot < slots; slot++) {
        due.tv_nsec += every_ns;
        while (due.tv_nsec >= 1000000000L) {
            due.tv_nsec -= 1000000000L;
            due.tv_sec++;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
        late[slot] = (now.tv_sec - due.tv_sec) * 1000000000L + now.tv_nsec - due.tv_nsec;
    }
    qsort(late, slots, sizeof *late, larger);
    printf("%.1f %.1f %.1f\n", late[slots / 2] / 1e3, late[slots * 99 / 100] / 1e3, late[slots - 1] / 1e3);
    return 0;
}
