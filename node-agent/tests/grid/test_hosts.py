"""The faults themselves: what is cut is cut, what is slow is slow, and only there."""

import socket
import threading
import time

import pytest

from hosts import inside, ip, run


@pytest.fixture
def echo(network):
    """Three hosts; `say(a, b)` sends a line from a to b's echo over TCP, returns the seconds it took or None."""
    hosts = [network.host() for _ in range(3)]
    for host in hosts:
        with inside(host.netns):
            server = socket.create_server(("", 7), backlog=8)

        def serve(server=server):
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    while data := peer.recv(65_536):
                        peer.sendall(data)

        threading.Thread(target=serve, daemon=True).start()

    def say(a, b, size=5, patience=0.5):
        begin = time.monotonic()
        try:
            with inside(a.netns):
                made = socket.create_connection((b.address, 7), timeout=patience)
            with made:
                sender = threading.Thread(target=made.sendall, args=(b"x" * size,))
                sender.start()
                got = 0
                while got < size:
                    part = made.recv(65_536)
                    assert part, "the echo ended early"
                    got += len(part)
                sender.join()
        except TimeoutError:
            return None
        return time.monotonic() - begin

    return hosts, say


def test_split_and_heal(network, echo):
    (a, b, c), say = echo
    assert say(a, b) and say(b, c)
    network.split([a], [b])
    assert say(a, b) is None and say(b, a) is None
    assert say(a, c) and say(c, b)
    network.heal()
    assert say(a, b) and say(b, a)


def test_one_way(network, echo):
    """UDP shows the direction; TCP needs both."""
    (a, b, _), say = echo
    network.cut([a], [b])
    sockets = {}
    for host in (a, b):
        with inside(host.netns):
            sockets[host] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sockets[host].bind(("", 5000))
        sockets[host].settimeout(0.5)
    # b must know a's hardware address without asking: answers to a question cannot come back.
    link = run(["ip", "-n", a.netns, "-o", "link", "show", "eth0"]).split("link/ether ")[1].split()[0]
    ip("neigh", "replace", a.address, "lladdr", link, "dev", "eth0", netns=b.netns)
    sockets[b].sendto(b"to a", (a.address, 5000))
    assert sockets[a].recv(100) == b"to a"
    sockets[a].sendto(b"to b", (b.address, 5000))
    with pytest.raises(TimeoutError):
        sockets[b].recv(100)
    for one in sockets.values():
        one.close()


def test_new_address(network, echo):
    (a, b, _), say = echo
    old = b.address
    b.readdress(77)
    assert b.address == "10.73.0.77" != old
    assert say(a, b)


def test_unplugged(network, echo):
    (a, b, c), say = echo
    b.plug(False)
    assert say(a, b) is None and say(a, c)
    b.plug(True)
    assert say(a, b, patience=5)


def test_delay_and_rate(network, echo):
    (a, b, c), say = echo
    b.delay(100)
    assert say(a, b, patience=10) >= 0.39  # a handshake and an echo: two round trips of 200 ms
    b.delay(0)
    assert say(a, b, size=3_000_000, patience=10), "3 MB through the wire"
    c.rate(10)
    assert say(a, c, size=2_000_000, patience=20) >= 1.3  # 16 Mbit at 10 Mbit/s, both ways at once
    c.rate(None)
    assert say(a, c, size=2_000_000, patience=20)


def test_loss(network, echo):
    (a, b, c), say = echo
    ends = []
    for host in (a, c):
        with inside(host.netns):
            ends.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    ends[1].bind(("", 5000))
    ends[1].settimeout(0.5)
    assert say(a, c)  # they know each other's hardware addresses now
    network.lose(c, 30)
    for number in range(200):
        ends[0].sendto(b"x" * 100, (c.address, 5000))
        time.sleep(0.001)
    got = 0
    try:
        while ends[1].recv(200):
            got += 1
    except TimeoutError:
        pass
    assert 90 < got < 190, got
    for one in ends:
        one.close()
    network.heal()
    network.lose(b, 5)
    assert all(say(a, b, patience=20) for _ in range(10))
    assert say(a, c)
