/* A bench of SCPI instruments, as fast as the machine allows: every connection is an instrument.
 *
 *   scpi_responder COUNTER PORTS DELAY_US
 *
 * Listens on PORTS ports and prints them. Answers "*IDN?" with a name and any other line with the instant of the answer,
 * CLOCK_MONOTONIC in seconds: the reading is its own true time. COUNTER is a file whose first 8 bytes hold the number of
 * readings given. DELAY_US holds each reading back by so much: the time an instrument takes to measure (one connection
 * at a time).
 */
#include "responder.h"
#include <time.h>

static const char name[] = "Bench,STANDIN,SIM-0001,1.0\n";
static volatile uint64_t *count;
static long delay_us;

static int reading(char *into)
{
    struct timespec now, pause = {0, delay_us * 1000};
    if (delay_us)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    clock_gettime(CLOCK_MONOTONIC, &now);
    return sprintf(into, "%lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
}

static int lines(int peer, unsigned char *asked, int many)
{
    unsigned char *end, *at = asked;
    for (; (end = memchr(at, '\n', asked + many - at)); at = end + 1) {
        char answer[64];
        int is_name = !strncmp((char *)at, "*IDN?", 5), size = is_name ? 0 : reading(answer);
        if (write(peer, is_name ? name : answer, is_name ? (int)sizeof name - 1 : size) < 0)
            return -1;
        *count += !is_name;
    }
    return at - asked;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    count = counters(argv[1]);
    delay_us = atol(argv[3]);
    answered = lines;
    serve(stand(atoi(argv[2])));
}
