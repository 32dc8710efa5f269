/* A bench of SCPI instruments, as fast as the machine allows: every connection is an instrument.
 *
 *   scpi_responder COUNTER PORTS DELAY_US
 *
 * Listens on PORTS ports and prints them. Answers "*IDN?" with a name and any other line with the instant of the answer, CLOCK_MONOTONIC in
 * seconds: the reading is its own true time. COUNTER is a file whose first 8 bytes hold the number of readings given.
 * DELAY_US holds each reading back by so much: the time an instrument takes to measure (one connection at a time).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4096, LINE = 512 };

static char kept[MOST][LINE];
static int length[MOST];
static char listens[MOST];
static const char name[] = "Bench,STANDIN,SIM-0001,1.0\n";

static int reading(char *into, long delay_us)
{
    struct timespec now, pause = {0, delay_us * 1000};
    if (delay_us)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    clock_gettime(CLOCK_MONOTONIC, &now);
    return sprintf(into, "%lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    int file = open(argv[1], O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, 64))
        return 1;
    volatile uint64_t *count = mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    long delay_us = atol(argv[3]);
    int one = 1, ports = atoi(argv[2]), poller = epoll_create1(0);
    struct epoll_event wanted = {.events = EPOLLIN}, came[256];
    for (int n = 0; n < ports; n++) {
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof here;
        if (listener < 0 || listener >= MOST || bind(listener, (struct sockaddr *)&here, size) || listen(listener, 1024))
            return 1;
        listens[listener] = 1;
        getsockname(listener, (struct sockaddr *)&here, &size);
        printf("%d%c", ntohs(here.sin_port), n + 1 < ports ? ',' : '\n');
        wanted.data.fd = listener;
        epoll_ctl(poller, EPOLL_CTL_ADD, listener, &wanted);
    }
    fflush(stdout);
    for (;;) {
        int events = epoll_wait(poller, came, 256, -1);
        for (int i = 0; i < events; i++) {
            int peer = came[i].data.fd;
            if (listens[peer]) {
                peer = accept(peer, NULL, NULL);
                if (peer < 0 || peer >= MOST)
                    return 1;
                setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                length[peer] = 0;
                wanted.data.fd = peer;
                epoll_ctl(poller, EPOLL_CTL_ADD, peer, &wanted);
                continue;
            }
            ssize_t got = read(peer, kept[peer] + length[peer], LINE - length[peer]);
            if (got <= 0) {
                close(peer);
                continue;
            }
            length[peer] += got;
            char *end;
            while ((end = memchr(kept[peer], '\n', length[peer]))) {
                char answer[64];
                int used = end + 1 - kept[peer];
                if (!strncmp(kept[peer], "*IDN?", 5)) {
                    if (write(peer, name, sizeof name - 1) < 0)
                        break;
                } else {
                    int n = reading(answer, delay_us);
                    if (write(peer, answer, n) < 0)
                        break;
                    ++*count;
                }
                memmove(kept[peer], end + 1, length[peer] - used);
                length[peer] -= used;
            }
            if (length[peer] == LINE)
                length[peer] = 0;
        }
    }
}
