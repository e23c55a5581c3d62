"""Is a history of one key linearizable, and does a LIST tell what it must?

Wing and Gong's search (1993) with Lowe's memoisation: find an order of the operations that a single register could have
executed, in which every operation takes effect between its start and its end. Three rules keep the search small, and none
changes its answer:

- a read that fits the present value and may come next is taken at once: it changes nothing, so waiting gains nothing;
- an operation whose answer was lost (`end` is None) may come at any time after its start, or never; it is tried only right
  before an operation that looks at the value, because a lost write that is overwritten unseen may as well not have happened;
- a (set of operations done, value) that failed once is not tried again.

The register holds an ETag, or None where there is no object. Times are any numbers of one clock.
"""

import dataclasses
import math

OPERATIONS_MAX = 400  # of one key; a history beyond that was made wrongly
CONFIGURATIONS_MAX = 1_000_000  # (done, value) pairs of one search: about 1 GB; more is no answer at all


@dataclasses.dataclass(frozen=True)
class Operation:
    """One request on one key.

    `kind`: "put", "get" or "delete". `value`: the ETag written or read; None where a GET found nothing.
    `condition` of a PUT: None, "absent" (If-None-Match: *), or the ETag of If-Match.
    `refused`: the condition did not hold (412, or 404 for If-Match on nothing).
    `end`: None where the answer was lost (timeout, reset, 5xx).
    """

    kind: str
    start: float
    end: float | None
    value: str | None = None
    condition: str | None = None
    refused: bool = False
    client: str = ""

    def __post_init__(self):
        assert self.kind in ("put", "get", "delete"), self.kind
        assert self.end is None or self.end >= self.start, "an answer before its question"
        assert not (self.refused and self.condition is None), "only a conditional PUT can be refused"

    @property
    def looks(self):
        """Does its outcome depend on the value?"""
        return self.kind == "get" or self.condition is not None

    def holds(self, state):
        """Does the condition hold in this state?"""
        if self.condition is None:
            return True
        return state is None if self.condition == "absent" else state == self.condition

    def apply(self, state):
        """(could this have been the outcome here?, the value after it)"""
        if self.kind == "get":
            return state == self.value, state
        if self.kind == "delete":
            return True, None
        if self.refused:
            return not self.holds(state), state
        return self.holds(state), self.value


class Undecided(AssertionError):
    """The search was given up: neither right nor wrong."""


def check(history, initial=None):
    """None where `history` (operations of one key) is linearizable, else a text that says how far an order got."""
    # A lost read says nothing; and neither does a refusal without answer, which cannot be.
    operations = [one for one in history if not (one.kind == "get" and one.end is None)]
    operations.sort(key=lambda one: one.start)
    count = len(operations)
    assert count <= OPERATIONS_MAX, f"{count} operations on one key: give each key fewer"
    must = sum(1 << i for i, one in enumerate(operations) if one.end is not None)
    by_end = sorted((i for i in range(count) if must >> i & 1), key=lambda i: operations[i].end)

    def next_ones(done):
        """What may come next: everything that began before the first outstanding answer."""
        first_end = next((operations[i].end for i in by_end if not done >> i & 1), math.inf)
        found = []
        for i, one in enumerate(operations):
            if one.start > first_end:
                break
            if not done >> i & 1:
                found.append(i)
        return found

    def settle(done, state, pending):
        """Takes all reads that fit. `pending`: a lost write was just taken and nobody looked yet."""
        while True:
            candidates = next_ones(done)
            fitting = [
                i
                for i in candidates
                if must >> i & 1
                and (operations[i].kind == "get" or operations[i].refused)
                and operations[i].apply(state)[0]
            ]
            if not fitting:
                return done, candidates, pending
            pending = False
            for i in fitting:
                done |= 1 << i

    seen = set()
    best, best_state = 0, initial
    stack = [(0, initial, False)]
    while stack:
        done, state, pending = stack.pop()
        done, candidates, pending = settle(done, state, pending)
        if done & must == must:
            return None
        if (done, state, pending) in seen:
            continue
        seen.add((done, state, pending))
        if len(seen) > CONFIGURATIONS_MAX:
            raise Undecided(f"no answer after {CONFIGURATIONS_MAX} configurations of {count} operations")
        if (done & must).bit_count() >= (best & must).bit_count():
            best, best_state = done, state
        answered, lost = [], []
        for i in candidates:
            one = operations[i]
            possible, after = one.apply(state)
            if not possible or (pending and not one.looks):
                continue
            open_write = not must >> i & 1
            (lost if open_write else answered).append((done | 1 << i, after, open_write))
        stack += lost  # below the others: tried last
        stack += reversed(answered)
    return _describe(operations, best, best_state, must)


def _describe(operations, done, state, must):
    lines = [f"not linearizable: {(done & must).bit_count()} of {must.bit_count()} answered operations can be put in order,"]
    lines.append(f"after which the value is {state}; marked +: in that order, !: next to fail")
    pending = [i for i in range(len(operations)) if must >> i & 1 and not done >> i & 1]
    first = min(pending, key=lambda i: operations[i].end)
    for i, one in enumerate(operations):
        mark = "!" if i == first else "+" if done >> i & 1 else " "
        end = "lost" if one.end is None else f"{one.end:.6f}" if isinstance(one.end, float) else one.end
        start = f"{one.start:.6f}" if isinstance(one.start, float) else one.start
        condition = f" if {one.condition}" if one.condition else ""
        refused = " REFUSED" if one.refused else ""
        lines.append(f" {mark} {start}..{end} {one.client} {one.kind} {one.value}{condition}{refused}")
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Listing:
    """One LIST to its last page: (key, ETag) in the order received."""

    start: float
    end: float
    entries: tuple
    client: str = ""


def check_listing(listing, histories):
    """What is wrong with a listing of all keys, given every key's operations: a list of sentences, empty where nothing is."""
    wrong = []
    keys = [key for key, _ in listing.entries]
    if keys != sorted(keys, key=lambda key: key.encode()):
        wrong.append("the keys are not in order")
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        wrong.append(f"{key} appears {keys.count(key)} times")
    shown = dict(listing.entries)
    for key in shown.keys() | histories.keys():
        # Sure: the value was overwritten or removed for certain. Maybe: it may have been removed.
        writes = [
            one for one in histories.get(key, []) if one.kind in ("put", "delete") and not one.refused and one.start < listing.end
        ]
        puts = [one for one in writes if one.kind == "put"]
        deletes = [one for one in writes if one.kind == "delete"]

        def may_undo(put):
            return any(one.end is None or one.end > put.start for one in deletes)

        def surely_over(put):
            return put.end is not None and any(
                one.end is not None and one.start > put.end and one.end < listing.start for one in writes
            )

        if key not in shown:
            if any(put.end is not None and put.end < listing.start and not may_undo(put) for put in puts):
                wrong.append(f"{key} is missing, although it was acknowledged before and not deleted")
            continue
        written = [put for put in puts if put.value == shown[key]]
        if not written:
            wrong.append(f"{key} appears with {shown[key]}, which was never written")
        elif all(surely_over(put) for put in written):
            wrong.append(f"{key} appears with {shown[key]}, which was overwritten or deleted before")
    return wrong
