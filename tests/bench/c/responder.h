/* What the responders on TCP share: listening ports, and one loop over all connections.
 *
 * A responder gives a function that looks at what one connection has sent and not yet been answered, answers what is
 * whole, and returns how many bytes it has used up; below 0 ends the connection.
 */
#ifndef RESPONDER_H
#define RESPONDER_H
#include "counters.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

enum { MOST = 8192, ROOM = 512 };

static int (*answered)(int peer, unsigned char *kept, int length);
static unsigned char kept[MOST][ROOM];
static int length[MOST];
static char listens[MOST];

/* Listen on so many ports of loopback, and print them in one line. */
static int stand(int ports)
{
    int poller = epoll_create1(0);
    for (int n = 0; n < ports; n++) {
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof here;
        if (listener < 0 || listener >= MOST || bind(listener, (struct sockaddr *)&here, size) || listen(listener, 1024))
            exit(1);
        listens[listener] = 1;
        getsockname(listener, (struct sockaddr *)&here, &size);
        printf("%d%c", ntohs(here.sin_port), n + 1 < ports ? ',' : '\n');
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = listener};
        epoll_ctl(poller, EPOLL_CTL_ADD, listener, &wanted);
    }
    fflush(stdout);
    return poller;
}

static void greet(int poller, int listener)
{
    int one = 1, peer = accept(listener, NULL, NULL);
    if (peer < 0 || peer >= MOST)
        exit(1);
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    length[peer] = 0;
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = peer};
    epoll_ctl(poller, EPOLL_CTL_ADD, peer, &wanted);
}

static void hear(int peer)
{
    ssize_t got = read(peer, kept[peer] + length[peer], ROOM - length[peer]);
    int used = -1;
    if (got > 0) {
        length[peer] += got;
        used = answered(peer, kept[peer], length[peer]);
    }
    if (used < 0) {
        close(peer);
        return;
    }
    memmove(kept[peer], kept[peer] + used, length[peer] - used);
    length[peer] -= used;
    if (length[peer] == ROOM)
        length[peer] = 0;
}

static void serve(int poller)
{
    struct epoll_event came[256];
    for (;;) {
        int events = epoll_wait(poller, came, 256, -1);
        for (int i = 0; i < events; i++) {
            if (listens[came[i].data.fd])
                greet(poller, came[i].data.fd);
            else
                hear(came[i].data.fd);
        }
    }
}
#endif
