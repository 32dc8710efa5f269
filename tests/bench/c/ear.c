/* Hears everything at a broker and counts it, at a few microseconds a message: MQTT 3.1.1, QoS 0, subscribed to "#".
 *
 *   ear PORT COUNTER [NEEDLE ...]
 *
 * COUNTER is a file of 8-byte numbers: messages, bytes, then how often each NEEDLE stood in a payload. What the broker
 * retains from before does not count. Prints a line when the subscription stands.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROOM = 1 << 22 };

static unsigned char buffer[ROOM];

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    int file = open(argv[2], O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, 4096))
        return 1;
    volatile uint64_t *count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    int broker = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in there = {
        .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(broker, (struct sockaddr *)&there, sizeof there))
        return 1;
    static const unsigned char hello[] = {0x10, 17, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 5, 'e', 'a', 'r', '-', '1'};
    static const unsigned char all[] = {0x82, 6, 0, 1, 0, 1, '#', 0};
    if (write(broker, hello, sizeof hello) < 0 || write(broker, all, sizeof all) < 0)
        return 1;
    int have = 0;
    for (;;) {
        ssize_t got = read(broker, buffer + have, ROOM - have);
        if (got <= 0)
            return 1;
        have += got;
        int begin = 0;
        while (have - begin >= 2) {
            int rest = 0, shift = 0, head = begin + 1, whole = 0;
            while (head < have && shift < 28) {
                rest |= (buffer[head] & 0x7F) << shift;
                shift += 7;
                if (!(buffer[head++] & 0x80)) {
                    whole = 1;
                    break;
                }
            }
            if (!whole || head + rest > have)
                break;
            int kind = buffer[begin] >> 4, retained = buffer[begin] & 1;
            if (kind == 9) {
                puts("listening");
                fflush(stdout);
            } else if (kind == 3 && !retained) {
                int topic = buffer[head] << 8 | buffer[head + 1], qos = buffer[begin] >> 1 & 3;
                unsigned char *payload = buffer + head + 2 + topic + (qos ? 2 : 0);
                int size = head + rest - (payload - buffer);
                for (int n = 3; n < argc; n++) {
                    size_t wide = strlen(argv[n]);
                    unsigned char *at = payload, *end = payload + size;
                    while ((at = memmem(at, end - at, argv[n], wide))) {
                        count[n - 1]++;
                        at += wide;
                    }
                }
                count[1] += size;
                count[0]++;
            }
            begin = head + rest;
        }
        memmove(buffer, buffer + begin, have - begin);
        have -= begin;
    }
}
