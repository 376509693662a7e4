"""What a pattern matches, and which patterns are no patterns."""

import pytest

from gatebook.policy import Globs, glob_problem


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("get_order", "get_order", True),
        ("get_order", "get_order2", False),
        ("list_*", "list_", True),
        ("list_*", "list_all", True),
        ("list_*", "list_a/b", False),
        ("*", "", True),
        ("*", "a/b", False),
        ("**", "", True),
        ("**", "a/b\nc", True),
        ("orders://*", "orders://7", True),
        ("orders://*", "orders://7/items", False),
        ("orders://**", "orders://7/items", True),
        ("orders://*/items", "orders://7/items", True),
        ("a*b*c", "aXbXbc", True),
        ("a?c", "abc", False),
        ("a?c", "a?c", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("{a,b}", "a", False),
        ("a.c", "abc", False),
        ("a\\*c", "a*c", False),
        ("A*", "ab", False),
        ("é*", "e\u0301x", False),
        ("é*", "éx", True),
        ("*", "a\nb", True),
        ("*", "x\n", True),
        ("*😀", "é😀", True),
        ("*", "\ud800", False),
    ],
)
def test_a_star_stops_at_a_slash_and_nothing_else_is_special(pattern: str, name: str, matches: bool) -> None:
    assert Globs((pattern,)).matches(name) is matches


def test_any_of_several_globs_is_enough() -> None:
    globs = Globs(("a", "b*", "c"))
    assert [globs.matches(name) for name in ("a", "bb", "c", "d")] == [True, True, True, False]


@pytest.mark.parametrize("pattern", ["", "***", "a****b", "a\x00", "a\n*", " a", "a ", "x" * 1025, "\ud800"])
def test_what_is_no_glob_is_said_without_repeating_it_and_matches_nothing(pattern: str) -> None:
    words = glob_problem(pattern)
    assert words is not None
    assert not Globs((pattern,)).matches(pattern)


@pytest.mark.timeout(10)
def test_a_hostile_name_takes_linear_time() -> None:
    globs = Globs(("*a" * 40 + "b", "**a" * 40 + "b"))
    assert not globs.matches("a" * 200_000)
