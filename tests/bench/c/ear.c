/* Hears what is published at a broker and counts it, at a few microseconds a message: MQTT 3.1.1, QoS 0.
 *
 *   ear PORT COUNTER NAME FILTER RECORD [NEEDLE ...]
 *
 * NAME is its client id, FILTER what it subscribes to. COUNTER is a file of 8-byte numbers: messages, bytes, then how
 * often each NEEDLE stood in a payload; they go on from what stands there. What the broker retains from before does not
 * count. While the number WISH is not 0, each message is also written to the file RECORD, with the monotonic instant at
 * which it was read: 8 bytes of nanoseconds, 4 of length of the topic, 4 of the payload, topic, payload. What was
 * written is on the file when the number DONE equals WISH, or is ENDED: the broker has gone. Prints a line when the
 * subscription stands.
 */
#include "counters.h"
#include <arpa/inet.h>
#include <errno.h>
#include <sys/time.h>
#include <time.h>

enum { BUFFER = 1 << 22, DONE = COUNTERS - 2, WISH = COUNTERS - 1, ENDED = 2, LOOK_US = 20000 };

static unsigned char buffer[BUFFER];
static volatile uint64_t *count;
static char **needles;
static FILE *record;

static void greet_broker(int broker, const char *name, const char *filter)
{
    unsigned char packet[512];
    int named = strlen(name), wide = strlen(filter), size = 0;
    static const unsigned char hello[] = {0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0};
    packet[size++] = 0x10;
    packet[size++] = sizeof hello + 2 + named;
    memcpy(packet + size, hello, sizeof hello);
    size += sizeof hello;
    packet[size++] = 0;
    packet[size++] = named;
    memcpy(packet + size, name, named);
    size += named;
    packet[size++] = 0x82;
    packet[size++] = 5 + wide;
    packet[size++] = 0;
    packet[size++] = 1;
    packet[size++] = 0;
    packet[size++] = wide;
    memcpy(packet + size, filter, wide);
    size += wide;
    packet[size++] = 0;
    if (write(broker, packet, size) != size)
        exit(1);
}

static void keep(const unsigned char *topic, uint32_t topic_size, const unsigned char *payload, uint32_t size)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t now_ns = now.tv_sec * 1000000000ULL + now.tv_nsec;
    fwrite(&now_ns, sizeof now_ns, 1, record);
    fwrite(&topic_size, sizeof topic_size, 1, record);
    fwrite(&size, sizeof size, 1, record);
    fwrite(topic, 1, topic_size, record);
    fwrite(payload, 1, size, record);
}

static void hear_message(int head, unsigned char *body, int size)
{
    int topic = body[0] << 8 | body[1], qos = head >> 1 & 3, before = 2 + topic + (qos ? 2 : 0);
    unsigned char *payload = body + before, *end = body + size;
    for (int n = 0; needles[n]; n++) {
        size_t wide = strlen(needles[n]);
        for (unsigned char *at = payload; (at = memmem(at, end - at, needles[n], wide)); at += wide)
            count[2 + n]++;
    }
    if (count[WISH])
        keep(body + 2, topic, payload, end - payload);
    count[1] += end - payload;
    count[0]++;
}

/* Take whole packets off the front; return how many bytes they had. */
static int packets(int have)
{
    int begin = 0;
    while (have - begin >= 2) {
        int rest = 0, shift = 0, at = begin + 1, whole = 0;
        while (at < have && shift < 28 && !whole) {
            rest |= (buffer[at] & 0x7F) << shift;
            shift += 7;
            whole = !(buffer[at++] & 0x80);
        }
        if (!whole || at + rest > have)
            break;
        if (buffer[begin] >> 4 == 9) {
            puts("listening");
            fflush(stdout);
        } else if (buffer[begin] >> 4 == 3 && !(buffer[begin] & 1))
            hear_message(buffer[begin], buffer + at, rest);
        begin = at + rest;
    }
    return begin;
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return 2;
    count = counters(argv[2]);
    record = fopen(argv[5], "ab");
    needles = argv + 6;
    int broker = socket(AF_INET, SOCK_STREAM, 0), have = 0;
    struct sockaddr_in there = {
        .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (!record || connect(broker, (struct sockaddr *)&there, sizeof there))
        return 1;
    struct timeval look = {0, LOOK_US};
    setsockopt(broker, SOL_SOCKET, SO_RCVTIMEO, &look, sizeof look);
    greet_broker(broker, argv[3], argv[4]);
    for (;;) {
        uint64_t wish = count[WISH];
        ssize_t got = read(broker, buffer + have, BUFFER - have);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            fclose(record);
            count[DONE] = ENDED;
            return 0;
        }
        if (got > 0) {
            have += got;
            int used = packets(have);
            memmove(buffer, buffer + used, have - used);
            have -= used;
        }
        if (count[DONE] != wish) {
            fflush(record);
            count[DONE] = wish;
        }
    }
}
