"""A bare loop over a serial line: a question, its whole answer, t3.5 of silence, the next question; nothing kept.

python -m tests.bench.counterparts.rtu_loop DEVICE QUESTION_HEX ANSWER_BYTES SILENCE_S
"""

import os
import sys
import time


def main(device, question, size, silence_s):
    line = os.open(device, os.O_RDWR | os.O_NOCTTY)
    while True:
        os.write(line, question)
        came = 0
        while came < size:
            came += len(os.read(line, size - came))
        time.sleep(silence_s)


if __name__ == "__main__":
    main(sys.argv[1], bytes.fromhex(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
