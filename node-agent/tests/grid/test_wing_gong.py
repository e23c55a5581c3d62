"""The checker itself: it must see what is wrong, and nothing that is right."""

import dataclasses
import random

import pytest

from wing_gong import Listing, Operation, check, check_listing


def put(start, end, value, condition=None, refused=False):
    return Operation("put", start, end, value, condition, refused)


def get(start, end, value):
    return Operation("get", start, end, value)


def delete(start, end):
    return Operation("delete", start, end)


WRONG = {
    "stale read": [put(0, 1, "a"), put(2, 3, "b"), get(4, 5, "a")],
    "stale read of nothing": [put(0, 1, "a"), get(2, 3, None)],
    "read of what was deleted": [put(0, 1, "a"), delete(2, 3), get(4, 5, "a")],
    "lost update": [put(0, 1, "a"), put(2, 3, "b", "a"), put(2, 3, "c", "a"), get(4, 5, "c")],
    "both creations succeed": [put(0, 5, "a", "absent"), put(1, 6, "b", "absent")],
    "both If-Match succeed": [put(0, 1, "a"), put(2, 9, "b", "a"), put(2, 9, "c", "a")],
    "refused without a reason": [put(0, 1, "a"), put(2, 3, "b", "a", refused=True)],
    "creation refused on nothing": [put(0, 1, "a", "absent", refused=True)],
    "read of what was never written": [put(0, 1, "a"), get(0, 3, "z")],
    "read before the write began": [get(0, 1, "a"), put(2, 3, "a")],
    "reads go back": [put(0, 1, "a"), put(2, 9, "b"), get(3, 4, "b"), get(5, 6, "a")],
    "reads go back after a lost write": [put(0, 1, "a"), put(2, None, "b"), get(3, 4, "b"), get(5, 6, "a")],
    "a lost write happens twice": [put(0, None, "a"), get(1, 2, "a"), put(3, 4, "b"), get(5, 6, "a")],
    "a lost write before its start": [get(0, 1, "a"), put(2, None, "a")],
    "a lost deletion happens twice": [
        put(0, 1, "a"), delete(2, None), get(3, 4, None), put(5, 6, "b"), get(7, 8, "b"), get(9, 10, None),
    ],
    "an acknowledged write never happens": [put(0, 1, "a"), put(2, 3, "b"), put(4, 5, "c", "a")],
    "a lost condition that cannot hold": [put(0, 1, "a"), put(2, None, "b", "x"), get(3, 4, "b")],
}  # fmt: skip

RIGHT = {
    "nothing": [],
    "in order": [put(0, 1, "a"), get(2, 3, "a"), delete(4, 5), get(6, 7, None)],
    "either of two at once": [put(0, 5, "a"), put(1, 4, "b"), get(6, 7, "a"), get(6, 7, "a")],
    "a read during a write, old then new": [put(0, 1, "a"), put(2, 9, "b"), get(3, 4, "a"), get(5, 6, "b")],
    "one creation of two": [put(0, 5, "a", "absent"), put(1, 6, "b", "absent", refused=True), get(7, 8, "a")],
    "an exchange": [put(0, 1, "a"), put(2, 3, "b", "a"), put(2, 3, "c", "a", refused=True), get(4, 5, "b")],
    "a lost write that never happened": [put(0, 1, "a"), put(2, None, "b"), get(3, 4, "a"), get(9, 10, "a")],
    "a lost write that came late": [put(0, 1, "a"), put(2, None, "b"), get(3, 4, "a"), put(5, 6, "c"), get(7, 8, "b")],
    "a lost deletion that came late": [put(0, 1, "a"), delete(2, None), get(3, 4, "a"), get(5, 6, None)],
    "lost writes in a chain": [put(0, None, "a"), put(1, None, "b", "a"), put(2, None, "c", "b"), get(5, 6, "c")],
    "a lost write that is seen by a refusal only": [put(0, None, "a"), put(2, 3, "b", "absent", refused=True)],
    "If-Match on nothing": [put(0, 1, "a", "x", refused=True), get(2, 3, None)],
    "a lost read": [put(0, 1, "a"), get(2, None, None)],
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_sees_what_is_wrong(name):
    assert check(WRONG[name]), name


@pytest.mark.parametrize("name", RIGHT)
def test_accepts_what_is_right(name):
    assert check(RIGHT[name]) is None, name


def simulate(chance, operations, clients):
    """A history that a correct register gave to `clients` at once: each operation takes effect at one instant within."""
    state, now, serial = None, 0.0, 0
    free_at = [0.0] * clients
    planned = []
    for _ in range(operations):
        client = min(range(clients), key=lambda i: free_at[i])
        start = free_at[client] + chance.random() * 0.3
        takes = 0.2 + chance.expovariate(1.0)
        instant, end = start + takes * chance.random(), start + takes
        lost = chance.random() < 0.05
        if lost:
            instant = start + takes * chance.random() * 5 if chance.random() < 0.7 else None
        free_at[client] = end
        planned.append((instant, start, None if lost else end, client))
    history = []
    for instant, start, end, client in sorted((one for one in planned if one[0] is not None), key=lambda one: one[0]):
        assert instant >= now
        now = instant
        draw = chance.random()
        if draw < 0.45:
            history.append(Operation("get", start, end, state, client=str(client)))
            continue
        if draw < 0.55:
            history.append(Operation("delete", start, end, client=str(client)))
            state = None
            continue
        serial += 1
        condition = None
        if draw > 0.75:
            known = [one.value for one in history[-6:] if one.value] or ["x"]
            condition = "absent" if chance.random() < 0.4 else state or chance.choice(known)
            if chance.random() < 0.3:
                condition = chance.choice(known)
        made = Operation("put", start, end, f"v{serial}", condition, client=str(client))
        if made.holds(state):
            state = made.value
        else:
            made = dataclasses.replace(made, refused=end is not None)
        history.append(made)
    for instant, start, _, client in planned:
        if instant is None:  # lost and never happened
            serial += 1
            history.append(Operation("put", start, None, f"v{serial}", client=str(client)))
    return history


def test_random_histories_of_a_correct_register():
    for seed in range(120):
        chance = random.Random(seed)
        history = simulate(chance, operations=chance.choice([5, 40, 200]), clients=chance.choice([1, 3, 8]))
        assert check(history) is None, f"seed {seed}: {check(history)}"


def spoil(chance, history):
    """Changes one answered operation into what most likely no register answers."""
    reads = [i for i, one in enumerate(history) if one.kind == "get" and one.end is not None]
    values = sorted({one.value for one in history if one.kind == "put" and not one.refused}) + [None]
    i = chance.choice(reads)
    other = [value for value in values if value != history[i].value]
    return history[:i] + [dataclasses.replace(history[i], value=chance.choice(other))] + history[i + 1 :]


def test_random_histories_with_one_false_read():
    caught = 0
    for seed in range(120):
        chance = random.Random(f"spoil {seed}")
        history = simulate(chance, operations=80, clients=3)
        caught += check(spoil(chance, history)) is not None
    print(f"{caught} of 120 false reads caught")  # the rest is right by chance: a concurrent or a lost write
    assert caught >= 108


HISTORIES = {
    "a": [put(0, 1, "1")],
    "b": [put(0, 1, "2"), delete(2, 3)],
    "c": [put(0, 1, "3"), delete(2, None)],
    "d": [put(0, None, "4")],
    "e": [put(0, 1, "5"), put(11, 12, "6")],
    "f": [put(0, 1, "7", "absent", refused=True)],
    "g": [put(30, 31, "8")],
    "h": [delete(0, 1), put(2, 3, "9")],
}


@pytest.mark.parametrize(
    ("entries", "wrong"),
    [
        ("a1 e5 h9", []),
        ("a1 c3 d4 e6 h9", []),
        ("e5 h9", ["a is missing"]),
        ("a1 a1 e5 h9", ["a appears 2 times"]),
        ("e5 a1 h9", ["not in order"]),
        ("a1 b2 e5 h9", ["b appears with 2, which was overwritten or deleted"]),
        ("a1 e5 f7 h9", ["f appears with 7, which was never written"]),
        ("a1 e5 g8 h9", ["g appears with 8, which was never written"]),
        ("a1 e5 h9 z0", ["z appears with 0, which was never written"]),
        ("a1 e5", ["h is missing"]),
        ("a2 e5 h9", ["a appears with 2, which was never written"]),
        ("", ["a is missing", "e is missing", "h is missing"]),
    ],
)
def test_listings(entries, wrong):
    listing = Listing(10, 20, tuple((entry[0], entry[1]) for entry in entries.split()))
    found = sorted(check_listing(listing, HISTORIES))
    assert len(found) == len(wrong) and all(expected in one for one, expected in zip(found, wrong)), found
