/* Modbus TCP devices, as fast as the machine allows: every connection is a device, whatever its unit.
 *
 *   modbus_responder COUNTER PORTS
 *
 * Listens on PORTS ports and prints them. Answers function codes 3 and 4 with counting registers (Modbus Application Protocol V1.1b3, 6.3,
 * 6.4; Messaging on TCP/IP Guide V1.0b, 3.1.3). COUNTER is a file whose first 8 bytes hold the number of answers.
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
#include <unistd.h>

enum { MOST = 8192, FRAME = 260, REQUEST = 12 };

static unsigned char kept[MOST][FRAME];
static int length[MOST];
static char listens[MOST];

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    int file = open(argv[1], O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, 64))
        return 1;
    volatile uint64_t *count = mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
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
            ssize_t got = read(peer, kept[peer] + length[peer], FRAME - length[peer]);
            if (got <= 0) {
                close(peer);
                continue;
            }
            length[peer] += got;
            while (length[peer] >= REQUEST) {
                unsigned char *asked = kept[peer], answer[FRAME];
                int words = asked[10] << 8 | asked[11], bytes = 2 * words;
                if (words > 125)
                    return 1;
                memcpy(answer, asked, 8);
                answer[4] = 0;
                answer[5] = 3 + bytes;
                answer[8] = bytes;
                for (int w = 0; w < words; w++) {
                    int content = (*count + w) & 0x7FFF;
                    answer[9 + 2 * w] = content >> 8;
                    answer[10 + 2 * w] = content & 0xFF;
                }
                if (write(peer, answer, 9 + bytes) < 0)
                    break;
                ++*count;
                memmove(asked, asked + REQUEST, length[peer] - REQUEST);
                length[peer] -= REQUEST;
            }
        }
    }
}
