"""A server of the time (SNTP, RFC 4330) that may be wrong by as much as a test wants."""

import contextlib
import socket
import struct
import threading
import time

from hosts import inside

NTP_EPOCH = 2_208_988_800  # 1970, in seconds since 1900


class TimeServer:
    """Answers SNTP questions while it is open: on a port of a host, of this computer's loopback where none is given."""

    def __init__(self, host=None, offset=0, port=123):
        self.offset, self.questions = offset, 0
        with inside(host.netns) if host else contextlib.nullcontext():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host.address if host else "127.0.0.1", port))
        self.address = "{}:{}".format(*self.socket.getsockname())
        self.thread = threading.Thread(target=self._answer, daemon=True)
        self.thread.start()

    def _answer(self):
        while True:
            try:
                question, sender = self.socket.recvfrom(512)
            except OSError:
                return
            if len(question) < 48:
                return  # of `close`
            now = time.time() + self.offset + NTP_EPOCH
            stamp = struct.pack("!II", int(now) & 0xFFFF_FFFF, int(now % 1 * 2**32))
            head = struct.pack("!BBbbII4s", 4 << 3 | 4, 1, 6, -20, 0, 66, b"TEST")
            self.questions += 1
            self.socket.sendto(head + bytes(8) + question[40:48] + stamp + stamp, sender)

    def close(self):
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()
