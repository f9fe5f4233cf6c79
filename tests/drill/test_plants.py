"""Planted secrets look like real ones."""

import re

from firedoor.drill.plants import Plants


def luhn_sum(number: str) -> int:
    """By the textbook: double every second digit from the right, add the digits of all."""
    doubled = [
        int(digit) if place % 2 else sum(divmod(2 * int(digit), 10))
        for place, digit in enumerate(reversed(number), start=1)
    ]
    return sum(doubled)


def test_cards_pass_the_luhn_check():
    for seed in range(50):
        card = Plants.grow(seed).card
        assert len(card) == 16
        assert luhn_sum(card) % 10 == 0


def test_keys_have_the_shape_of_their_kind():
    plants = Plants.grow(1)
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", plants.aws_access_key)
    assert re.fullmatch(r"sk-proj-\w{48}", plants.api_key)


def test_a_seed_grows_the_same_secrets_and_another_none_of_them():
    assert Plants.grow(1) == Plants.grow(1)
    assert not set(Plants.grow(1).named().values()) & set(Plants.grow(2).named().values())
