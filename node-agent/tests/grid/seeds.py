"""What tests draw at random, they can draw again."""

import random


def chosen_seed(request):
    """The one of `--seed`, else a new one; it is printed."""
    given = request.config.getoption("--seed")
    chosen = given if given is not None else random.SystemRandom().randrange(1_000_000)
    print(f"seed {chosen} (again: --seed {chosen})")
    return chosen
