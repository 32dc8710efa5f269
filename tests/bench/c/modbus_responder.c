/* Modbus TCP devices, as fast as the machine allows: every connection is a device, whatever its unit.
 *
 *   modbus_responder COUNTER PORTS
 *
 * Listens on PORTS ports and prints them. Answers function codes 3 and 4 with counting registers (Modbus Application
 * Protocol V1.1b3, 6.3, 6.4; Messaging on TCP/IP Guide V1.0b, 3.1.3). COUNTER is a file whose first 8 bytes hold the
 * number of answers.
 */
#include "responder.h"

enum { FRAME = 260, REQUEST = 12 };

static volatile uint64_t *count;

static int requests(int peer, unsigned char *asked, int many)
{
    int used = 0;
    for (; many - used >= REQUEST; used += REQUEST, ++*count) {
        unsigned char answer[FRAME], *one = asked + used;
        int words = one[10] << 8 | one[11], bytes = 2 * words;
        if (words > 125)
            return -1;
        memcpy(answer, one, 8);
        answer[4] = 0;
        answer[5] = 3 + bytes;
        answer[8] = bytes;
        for (int w = 0; w < words; w++) {
            int content = (*count + w) & 0x7FFF;
            answer[9 + 2 * w] = content >> 8;
            answer[10 + 2 * w] = content & 0xFF;
        }
        if (write(peer, answer, 9 + bytes) < 0)
            return -1;
    }
    return used;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    count = counters(argv[1]);
    answered = requests;
    serve(stand(atoi(argv[2])));
}
