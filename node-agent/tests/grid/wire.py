"""wire.py OUTER INNER HOST: carries every frame between two interfaces, each way later by the milliseconds on stdin.

Runs in the bridge's namespace. HOST is the namespace at the far end of OUTER. Frames must be on the wire as they are there:
no checksums left to hardware that is not, no segments to cut later; so these offloads are switched off on all ends.
"""

import array
import fcntl
import heapq
import os
import selectors
import socket
import struct
import sys
import time

SIOCETHTOOL = 0x8946
OFFLOADS = [0x17, 0x1F, 0x22, 0x24, 0x2C]  # ETHTOOL_S…: TX checksums, TSO, UFO, GSO, GRO
FRAMES_MAX = 20_000  # held back; beyond that they are lost, as in any queue
ETH_P_ALL = 3
PACKET_IGNORE_OUTGOING = 23
SOL_PACKET = 263


def plain(device):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for command in OFFLOADS:
            value = array.array("I", [command, 0])
            request = struct.pack("16sQ", device.encode(), value.buffer_info()[0])
            try:
                fcntl.ioctl(probe.fileno(), SIOCETHTOOL, request)
            except OSError:
                pass  # not every kernel knows every one


def opened(device):
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    end.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    end.bind((device, 0))
    end.setblocking(False)
    return end


def main():
    outer, inner, host = sys.argv[1:]
    for device in (outer, inner, inner[:-1]):
        plain(device)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    from hosts import CLONE_NEWNET, NETNS, _libc

    there = os.open(NETNS / host, os.O_RDONLY)
    assert _libc.setns(there, CLONE_NEWNET) == 0
    plain("eth0")
    assert _libc.setns(home, CLONE_NEWNET) == 0

    ends = [opened(outer), opened(inner)]
    chooser = selectors.DefaultSelector()
    chooser.register(sys.stdin, selectors.EVENT_READ)
    for number, end in enumerate(ends):
        chooser.register(end, selectors.EVENT_READ, number)
    held, serial, delay = [], 0, 0.0
    while True:
        wait = max(0.0, held[0][0] - time.monotonic()) if held else None
        for key, _ in chooser.select(wait):
            if key.fileobj is sys.stdin:
                line = sys.stdin.readline()
                if not line:
                    return
                delay = float(line) / 1000
                print("ok", flush=True)
                continue
            while True:
                try:
                    frame = key.fileobj.recv(70_000)
                except (BlockingIOError, OSError):
                    break
                if len(held) < FRAMES_MAX:
                    serial += 1
                    heapq.heappush(held, (time.monotonic() + delay, serial, 1 - key.data, frame))
        while held and held[0][0] <= time.monotonic():
            _, _, number, frame = heapq.heappop(held)
            try:
                ends[number].send(frame)
            except OSError:
                pass  # full or down: lost


main()
