"""Nodes that leave for good and nodes that come: objects written before are changed to what the grid can carry now."""

from conftest import settle, until_drives_are_known
from grid import eventually

SIZES = (900_000, 3_000_000, 60_000)
SECONDS_MAX = 120  # uplift waits until the grid has been the same for a minute, unless it is ordered


def put(grid, node, seed):
    """Objects by key."""
    client = grid.s3(timeout=30)
    objects = {f"{number}": f"{seed}/{number}\n".encode() * (SIZES[number % 3] // 8) for number in range(9)}
    for key, body in objects.items():
        assert client.request(node, "PUT", f"/load/{key}", body=body).status == 200
    client.close()
    return objects


def segments(node, objects):
    """Of each object its segment's profile and the nodes of its chunks, None where there is no chunk."""
    found = {}
    for key in objects:
        (segment,) = node.command("locate", f"s3://load/{key}", "--json")["segments"]
        found[key] = segment["profile"], [chunk.get("node") for chunk in segment["chunks"]]
    return found


def check(grid, node, objects):
    client = grid.s3(timeout=30)
    for key, body in objects.items():
        answer = client.request(node, "GET", f"/load/{key}")
        assert answer.status == 200 and answer.body == body, f"{key} on {node}: {answer.status} {answer.code}"
    client.close()


def until_uplifted(grid, nodes, done):
    """Orders `uplift` wherever it may have to be done, until it is."""

    def look():
        for node in nodes:
            node.command("job", "run", "uplift")
        return done()

    return eventually(look, SECONDS_MAX, every=2)


def test_four_nodes_become_three(make_grid, seed):
    """One node dies for good: what had a chunk on it is re-coded for three, and then each of those may go."""
    grid = make_grid(4)
    gone = grid.nodes[3]
    rest = grid.nodes[:3]
    until_drives_are_known(grid, rest[:1], "ec:2+2", 4)
    objects = put(grid, rest[0], seed)
    before = segments(rest[0], objects)
    assert {profile for profile, _ in before.values()} == {"ec:2+2", "copies:3"}, before
    gone.kill()
    grid.wait_leader(among=rest)
    rest[0].command("node", "remove", gone.id)
    grid.nodes = rest
    settle(grid)

    def recoded():
        now = segments(rest[0], objects)
        homeless = [key for key, (profile, at) in now.items() if profile == "ec:2+2" or gone.id in at or None in at]
        return not homeless

    assert until_uplifted(grid, rest, recoded), f"{segments(rest[0], objects)}\n{grid.log_tails()}"
    assert {profile for profile, _ in segments(rest[0], objects).values()} == {"ec:2+1", "copies:3"}
    for lost in rest:
        lost.kill()
        reader = next(node for node in rest if node is not lost)
        grid.wait_leader(among=[reader])
        check(grid, reader, objects)
        lost.start()
        settle(grid)


def test_chunks_that_crowd_two_nodes_are_spread(make_grid, seed):
    """`ec:2+2` on two nodes of two drives each; when two more have come, a chunk on each, and any two may go."""

    def add(grid, drives):
        node = grid.add(drives, start=False)
        node.config.write_text('profile = "ec:2+2"\n' + node.config.read_text())
        node.start()

    grid = make_grid(0, bucket=None)
    for drives in (2, 2):
        add(grid, drives)
    settle(grid)
    grid.bucket("load")
    until_drives_are_known(grid, grid.nodes[:1], "ec:2+2", 2)
    objects = put(grid, grid.nodes[0], seed)
    assert {(profile, len(set(at))) for profile, at in segments(grid.nodes[0], objects).values()} == {("ec:2+2", 2)}
    for drives in (1, 1):
        add(grid, drives)
    settle(grid)

    def spread():
        return all(len(set(at)) == 4 and None not in at for _, at in segments(grid.nodes[0], objects).values())

    assert until_uplifted(grid, grid.nodes, spread), f"{segments(grid.nodes[0], objects)}\n{grid.log_tails()}"
    for node in grid.nodes:
        check(grid, node, objects)
