"""Clients that do all at once and remember every answer; at the end the checker judges what they saw."""

import collections
import hashlib
import random
import threading
import time

import wing_gong
from s3 import Lost, Unreachable
from wing_gong import Listing, Operation

OPERATIONS_PER_KEY = 110  # then the slot gets a new key; the reads at the end come on top, the checker takes 400
SMALL = (1, 300, 4_000, 15_000)  # inside the metadata
LARGE = (20_000, 150_000, 1_200_000)  # chunks on drives
STANDSTILL_SECONDS = 30  # without the answers that a test waits for: it failed
SHY_SECONDS = 4  # after an answer that never came
SHY_CHANCE = 0.05  # of going there all the same: with a fifth, five clients spent most of a partition at the silent half
TURN_SECONDS = 0.004  # a client's rest after each answer: two cores serve the grid, the clients and the checks


class Load:
    """`clients` threads over all endpoints, `slots` keys at a time. Use as a context: the load runs within, is judged after.

    Every operation is one request: nothing is retried, so each answer counts. What an answer means:
    2xx: happened. 412 (404 for If-Match): refused. Lost, 5xx, 409: may have happened at any time from now on. No connection: did not.
    """

    def __init__(self, grid, seed, clients=5, slots=12, sizes=(*SMALL, *LARGE), bucket="load", nodes=None, timeout=5):
        self.grid, self.seed, self.bucket, self.sizes, self.timeout = grid, seed, bucket, sizes, timeout
        self.nodes = list(nodes or grid.nodes)  # endpoints; tests may change the list while it runs
        self.shy = {}  # (client, node) → until when the client goes there seldom
        self.clock_offset = {}  # node → seconds, where its clock is wrong
        self.lock = threading.Lock()
        self.histories = collections.defaultdict(list)
        self.listings = []
        self.counts = collections.Counter()
        self.wrong = []  # answers that are wrong by themselves
        self.generation = [0] * slots
        self.used = [0] * slots
        self.serial = 0
        self.stopping = threading.Event()
        self.last_success = time.monotonic()
        self.longest_silence = 0.0
        self.threads = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(clients)]
        self.patient = threading.Thread(target=self._be_patient, daemon=True)

    def __enter__(self):
        print(f"load: seed {self.seed}, {len(self.threads)} clients, {len(self.nodes)} endpoints")
        self.last_success = time.monotonic()
        for thread in [*self.threads, self.patient]:
            thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop()
        if kind is None:
            self.judge()

    def stop(self):
        self.stopping.set()
        for thread in [*self.threads, self.patient]:
            thread.join(timeout=150)
            assert not thread.is_alive(), "a client hangs"

    def run_for(self, seconds, acknowledged=0):
        """Lets the load go on for so long, and until so many more answers came; fails where none come at all."""
        goal = self.counts["acknowledged"] + acknowledged
        time.sleep(seconds)
        end = time.monotonic() + STANDSTILL_SECONDS
        while self.counts["acknowledged"] < goal:
            assert time.monotonic() < end, f"the load stands still: {dict(self.counts)}\n{self.grid.log_tails()}"
            time.sleep(0.1)

    # ---- one client

    def _work(self, number):
        chance = random.Random(f"{self.seed}/{number}")
        name = f"c{number}"
        client = self.grid.s3(self.timeout)
        seen = {}  # key → ETag this client saw last
        try:
            while not self.stopping.is_set():
                nodes = list(self.nodes)
                if chance.random() < 0.03:
                    self._list(chance, client, nodes, name)
                else:
                    node = chance.choice(nodes)
                    if chance.random() >= SHY_CHANCE and self.shy.get((name, node), 0) > time.monotonic():
                        continue  # mostly elsewhere, or all clients would hang at a node that is silent
                    self._one(chance, client, node, name, seen)
                time.sleep(TURN_SECONDS)
        except BaseException as broken:  # a bug of the tests must not look like silence
            self.wrong.append(f"{name} broke: {broken!r}")
            raise
        finally:
            client.close()

    def _key(self, chance):
        with self.lock:
            slot = chance.randrange(len(self.used))
            if self.used[slot] >= OPERATIONS_PER_KEY:
                self.generation[slot] += 1
                self.used[slot] = 0
            self.used[slot] += 1
            return f"slot {slot}/{self.generation[slot]:03d}"

    def body(self, chance):
        with self.lock:
            self.serial += 1
            serial = self.serial
        size = chance.choice(self.sizes)
        mark = f"{self.seed}/{serial}\n".encode()
        return mark * (size // len(mark) + 1)

    def _one(self, chance, client, node, name, seen):
        key, draw = self._key(chance), chance.random()
        if draw < 0.45:
            self.get(client, node, key, name, seen)
        elif draw < 0.53:
            self._send(client, node, key, name, Operation("delete", 0, None))
        else:
            condition = None
            if draw > 0.85:
                condition = seen.get(key)
            elif draw > 0.75:
                condition = "absent"
            body = self.body(chance)
            etag = hashlib.md5(body).hexdigest()
            if self._send(client, node, key, name, Operation("put", 0, None, etag, condition), body):
                seen[key] = etag

    def _request(self, client, node, name, *request):
        client.clock_offset = self.clock_offset.get(node, 0)
        begin = time.monotonic()
        try:
            answer = client.request(node, *request)
        except Unreachable:
            self.count("unreachable")
            return begin, None, "unreachable"
        except Lost:
            self.count("lost")
            self.shy[name, node] = time.monotonic() + SHY_SECONDS
            return begin, None, "lost"
        end = time.monotonic()
        if answer.status >= 500 or answer.status == 409:
            self.count(f"{answer.status} {answer.code}")
            return begin, None, "lost"
        with self.lock:
            self.longest_silence = max(self.longest_silence, end - self.last_success)
            self.last_success = end
        return begin, end, answer

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def record(self, key, operation):
        with self.lock:
            self.histories[key].append(operation)

    def _send(self, client, node, key, name, plan, body=b""):
        """A PUT or DELETE; True where it was acknowledged."""
        headers = {}
        if plan.condition:
            headers = {"if-none-match": "*"} if plan.condition == "absent" else {"if-match": f'"{plan.condition}"'}
        begin, end, answer = self._request(client, node, name, plan.kind.upper(), f"/{self.bucket}/{key}", (), headers, body)
        who = f"{name}@{node.number}"
        if answer == "unreachable":
            return False
        refused = False
        if answer != "lost":
            good = 200 if plan.kind == "put" else 204
            refused = plan.condition is not None and answer.status in ((412,) if plan.condition == "absent" else (412, 404))
            if answer.status != good and not refused:
                self.wrong.append(f"{plan.kind} {key} by {who}: {answer.status} {answer.code}")
                end = None
            elif not refused and plan.kind == "put" and answer.etag != plan.value:
                self.wrong.append(f"put {key} by {who}: ETag {answer.etag}, not {plan.value}")
            else:
                self.count("acknowledged")
        self.record(key, Operation(plan.kind, begin, end, plan.value, plan.condition, refused, who))
        return end is not None and not refused

    def get(self, client, node, key, name, seen=None):
        """A GET; True where it was answered."""
        begin, end, answer = self._request(client, node, name, "GET", f"/{self.bucket}/{key}")
        who = f"{name}@{node.number}"
        if end is None:
            return False
        if answer.status == 404 and answer.code == "NoSuchKey":
            value = None
        elif answer.status == 200:
            value = hashlib.md5(answer.body).hexdigest()
            if value != answer.etag:
                self.wrong.append(f"get {key} by {who}: the bytes are not those of the ETag {answer.etag}")
            if seen is not None:
                seen[key] = value
        else:
            self.wrong.append(f"get {key} by {who}: {answer.status} {answer.code}")
            return False
        self.count("acknowledged")
        self.record(key, Operation("get", begin, end, value, client=who))
        return True

    def _list(self, chance, client, nodes, name):
        """All pages, each from any node."""
        node = chance.choice(nodes)
        client.clock_offset = self.clock_offset.get(node, 0)
        begin = time.monotonic()
        try:
            answer = client.list(node, self.bucket, page=chance.choice([3, 20, 1000]))
        except (Unreachable, Lost):
            return self.count("list lost")
        if not isinstance(answer, list):
            if answer.status < 500:
                self.wrong.append(f"list by {name}@{node.number}: {answer.status} {answer.code}")
            return self.count(f"list {answer.status} {answer.code}")
        self.count("lists")
        with self.lock:
            self.listings.append(Listing(begin, time.monotonic(), tuple(answer), f"{name}@{node.number}"))

    # ---- a client as people write them

    def _be_patient(self):
        """Tries again at another node for up to a minute; never sees an error then. Its own keys, one writer each."""
        chance = random.Random(f"{self.seed}/patient")
        client = self.grid.s3(self.timeout)
        number = 0
        while not self.stopping.is_set():
            number += 1
            key, body = f"patient/{number % 20}", self.body(chance)
            for method, good in (("PUT", 200), ("GET", 200)):
                end = time.monotonic() + 60
                tries, told = 0, []
                while True:
                    tries += 1
                    node = chance.choice(list(self.nodes))
                    client.clock_offset = self.clock_offset.get(node, 0)
                    try:
                        answer = client.request(node, method, f"/{self.bucket}/{key}", body=body if method == "PUT" else b"")
                        if answer.status == good:
                            break
                        told.append(f"{node}: {answer.status} {answer.code}")
                        if answer.status < 500:
                            self.wrong.append(f"patient {method} {key} at {node}: {answer.status} {answer.code}")
                            break
                    except (Unreachable, Lost) as error:
                        told.append(f"{node}: {error}")
                    if time.monotonic() > end:
                        self.wrong.append(f"patient {method} {key} gave up after {tries} tries: {told[-5:]}")
                        break
                    time.sleep(0.1)
                self.counts["patient tries max"] = max(self.counts["patient tries max"], tries)
                if method == "GET" and answer and answer.status == 200 and answer.body != body:
                    self.wrong.append(f"patient GET {key} at {node}: not what was acknowledged last")
            time.sleep(0.02)
        client.close()

    # ---- judgement

    def read_all(self, nodes=None):
        """Every key from every node, and every node's listing, into the histories."""
        client = self.grid.s3(self.timeout)
        for node in nodes or self.nodes:
            for key in sorted(self.histories):
                end = time.monotonic() + 60
                while not self.get(client, node, key, "end"):
                    assert time.monotonic() < end, f"{key} cannot be read at {node}: {dict(self.counts)} {self.wrong[-3:]}"
                    time.sleep(0.2)
            client.clock_offset = self.clock_offset.get(node, 0)
            begin = time.monotonic()
            listed = client.list(node, self.bucket)
            assert isinstance(listed, list), f"no listing at {node}: {listed}"
            listing = Listing(begin, time.monotonic(), tuple(listed), f"end@{node.number}")
            self.listings.append(listing)
        client.close()

    def judge(self):
        """Asserts that what was seen could be seen, and prints what there was."""
        self.read_all()
        operations = sum(len(history) for history in self.histories.values())
        lost = sum(one.end is None for history in self.histories.values() for one in history)
        print(
            f"load: seed {self.seed}: {operations} operations on {len(self.histories)} keys, {lost} open, "
            f"{len(self.listings)} lists; longest silence {self.longest_silence:.1f} s; {dict(self.counts)}"
        )
        wrong = list(self.wrong)
        for node in self.nodes:
            unrecoverable = node.status()["segments_unrecoverable"]
            if unrecoverable:
                wrong.append(f"{node} holds {unrecoverable} segments for lost")
        for key, history in sorted(self.histories.items()):
            told = wing_gong.check(history)
            if told:
                wrong.append(f"{key}: {told}")
        mine = {key: history for key, history in self.histories.items()}
        for listing in self.listings:
            entries = tuple(one for one in listing.entries if not one[0].startswith("patient/"))
            for told in wing_gong.check_listing(Listing(listing.start, listing.end, entries), mine):
                wrong.append(f"list by {listing.client} from {listing.start:.6f} to {listing.end:.6f}: {told}")
        assert not wrong, f"seed {self.seed}: {len(wrong)} wrong:\n" + "\n".join(wrong[:20])
        assert self.counts["acknowledged"] > 100, f"the load did nothing: {dict(self.counts)}"
