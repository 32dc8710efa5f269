/* A Modbus RTU device behind a serial line, as slow as the line is: a pseudo-terminal whose bytes take their time.
 *
 *   rtu_wire COUNTER BAUD CHARACTER_BITS
 *
 * Prints the device to open. A request occupies the wire from the instant at which it was written, CHARACTER_BITS a
 * byte; t3.5 of silence later the device knows that it was whole and answers at once: each byte of the answer is given
 * to the reader at the instant at which its last bit would have come. All these instants are reckoned from the request
 * (absolute deadlines), so that a late wake-up delays a byte and never the next. t3.5 is 3.5 characters, and 1.75 ms
 * above 19200 baud (MODBUS over Serial Line V1.02, 2.5.1.1). Answers function codes 3 and 4 with counting
 * registers.
 *
 * COUNTER is a file of 8-byte numbers: [0] answers, [1] requests that came before t3.5 had passed since the answer
 * before, [2] bytes that were no request, [3] by how much the last bytes of all answers were late, in nanoseconds; from
 * [16] on, in a ring of RING, the same of each.
 */
#include "counters.h"
#include <poll.h>
#include <sys/prctl.h>
#include <termios.h>
#include <time.h>

enum { REQUEST = 8, ROOM = 512, RING = 400, FIRST = 16 };
static const long SECOND = 1000000000L;

static long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

static void until(long instant_ns)
{
    struct timespec then = {instant_ns / SECOND, instant_ns % SECOND};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &then, NULL))
        ;
}

static unsigned checksum(const unsigned char *data, int size)
{
    unsigned value = 0xFFFF;
    for (int n = 0; n < size; n++) {
        value ^= data[n];
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xA001 : value >> 1;
    }
    return value;
}

/* Make the answer to a request; 0 where it is none that we know. */
static int answer_to(const unsigned char *asked, unsigned char *answer, unsigned number)
{
    int words = asked[4] << 8 | asked[5];
    if (checksum(asked, REQUEST - 2) != (unsigned)(asked[6] | asked[7] << 8) || (asked[1] != 3 && asked[1] != 4))
        return 0;
    if (words < 1 || words > 125)
        return 0;
    answer[0] = asked[0];
    answer[1] = asked[1];
    answer[2] = 2 * words;
    for (int w = 0; w < words; w++) {
        answer[3 + 2 * w] = (number + w) >> 8 & 0x7F;
        answer[4 + 2 * w] = (number + w) & 0xFF;
    }
    int size = 3 + 2 * words;
    unsigned sum = checksum(answer, size);
    answer[size] = sum & 0xFF;
    answer[size + 1] = sum >> 8;
    return size + 2;
}

/* Give each byte when its last bit has come; return when the last of them was due. */
static long play(int line, const unsigned char *answer, int size, long begin_ns, double character_ns)
{
    int given = 0;
    while (given < size) {
        until(begin_ns + (long)((given + 1) * character_ns));
        int due = (now_ns() - begin_ns) / character_ns;
        due = due > size ? size : due < given + 1 ? given + 1 : due;
        if (write(line, answer + given, due - given) < 0)
            exit(1);
        given = due;
    }
    return begin_ns + (long)(size * character_ns);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    volatile uint64_t *count = counters(argv[1]);
    long baud = atol(argv[2]);
    double character_ns = (double)SECOND * atol(argv[3]) / baud;
    long silence_ns = baud > 19200 ? 1750000 : (long)(3.5 * character_ns);
    prctl(PR_SET_TIMERSLACK, 1UL);
    int line = posix_openpt(O_RDWR | O_NOCTTY);
    if (line < 0 || grantpt(line) || unlockpt(line))
        return 1;
    int other = open(ptsname(line), O_RDWR | O_NOCTTY); /* held open: the line does not hang up between two readers */
    struct termios raw;
    tcgetattr(other, &raw);
    cfmakeraw(&raw);
    tcsetattr(other, TCSANOW, &raw);
    puts(ptsname(line));
    fflush(stdout);
    unsigned char asked[ROOM], answer[ROOM];
    int have = 0;
    long came_ns = 0, free_ns = 0;
    for (;;) {
        struct pollfd one = {line, POLLIN, 0};
        int some = poll(&one, 1, have ? 1 + (int)((REQUEST * character_ns + silence_ns) / 1000000) : -1);
        if (some == 0) { /* what has come is no whole request, and nothing follows */
            count[2] += have;
            have = 0;
            continue;
        }
        long now = now_ns();
        ssize_t got = read(line, asked + have, sizeof asked - have);
        if (got <= 0)
            return 1;
        if (!have)
            came_ns = now;
        have += got;
        if (have < REQUEST)
            continue;
        int size = have == REQUEST ? answer_to(asked, answer, count[0]) : 0;
        if (!size) {
            count[2] += have;
            have = 0;
            continue;
        }
        have = 0;
        count[1] += free_ns && came_ns < free_ns + silence_ns;
        free_ns = play(line, answer, size, came_ns + (long)(REQUEST * character_ns) + silence_ns, character_ns);
        long late_ns = now_ns() - free_ns;
        count[3] += late_ns;
        count[FIRST + count[0] % RING] = late_ns;
        count[0]++;
    }
}
