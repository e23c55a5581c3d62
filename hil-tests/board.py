"""A board as a test sees it: power, a serial console, a network address, a card. Back ends: `qemu.py`, `real.py`."""

import codecs
import io
import re
import threading
import time

import boto3
from botocore.config import Config

# A guest on a busy machine is slow, never wrong: tests wait for events, not for times.
PATIENCE = 240


class Serial:
    """Everything that a board said, line by line; a copy goes to the file `log`, where one is named."""

    def __init__(self, log=None):
        self.text = ""
        self.changed = threading.Condition()
        self.log = open(log, "w") if log else io.StringIO()

    def follow(self, read):
        """Listens to what a back end's `read()` gives, until that is nothing."""
        threading.Thread(target=self._listen, args=(read,), daemon=True).start()

    def _listen(self, read):
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while data := read():
            self.feed(decoder.decode(data))

    def feed(self, text):
        """So much more was said."""
        self.log.write(text)
        self.log.flush()
        with self.changed:
            self.text += text.replace("\r", "")
            self.changed.notify_all()

    def wait_for(self, pattern, after=0, patience=PATIENCE):
        """The match of `pattern` in whole lines behind position `after`; fails with the end of what was said instead."""
        until = time.monotonic() + patience
        with self.changed:
            while True:
                whole = self.text.rfind("\n") + 1
                found = re.compile(pattern, re.MULTILINE).search(self.text, after, whole)
                if found:
                    return found
                left = until - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"the board never said {pattern!r}; its last words:\n{self.text[-3000:]}")
                self.changed.wait(left)

    def mark(self):
        """The position of what comes next."""
        with self.changed:
            return len(self.text)


class Board:
    """What every back end gives; `serial` is a Serial, `s3` an endpoint that this host reaches, `found` the configuration of a
    board that founds a grid."""

    serial: Serial
    s3: str
    has_power_button = True
    card_at_hand = True
    # Of an object that counts as large there: what its network carries in some seconds.
    large_bytes = 20 << 20
    found = "[board]\nfound = true\n"

    def let_it_found(self, more=""):
        """The card says that the board founds a grid; `more` tables of its configuration."""
        self.put_on_card("shoal.toml", self.found + more)

    def power_on(self):
        raise NotImplementedError

    def cut_power(self):
        """At once, whatever is being written."""
        raise NotImplementedError

    def press_power_button(self):
        """And waits until the board is off."""
        raise NotImplementedError

    def put_on_card(self, name, text):
        """A file on volume SHOAL, while the power is off."""
        raise NotImplementedError

    def read_from_card(self, name):
        """The text of a file on volume SHOAL, None where there is none, while the power is off."""
        raise NotImplementedError


class Keys:
    """What a founding says once on the console."""

    def __init__(self, serial, after=0):
        said = lambda what: serial.wait_for(rf"^ *{what} +(\S+)$", after).group(1)  # noqa: E731
        self.access, self.secret, self.operator = said("access key"), said("secret key"), said("operator key")


def client(endpoint, keys, attempts=8):
    config = Config(
        retries={"max_attempts": attempts, "mode": "standard"}, s3={"addressing_style": "path"}, read_timeout=30
    )
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", config=config,
        aws_access_key_id=keys.access, aws_secret_access_key=keys.secret,
    )
