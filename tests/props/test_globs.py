"""Globs against a reference matcher that is too slow to be wrong."""

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from gatebook.policy import Globs, glob_problem

ALPHABET = "ab/.?[é\n*"
patterns = st.lists(
    st.sampled_from(["a", "b", "/", ".", "?", "[", "é", "😀", "\\", "*", "**"]), min_size=1, max_size=9
).map("".join)
names = st.text(alphabet=ALPHABET + "😀\\", max_size=10)


def reference(pattern: str, name: str) -> bool:
    """The definition, read aloud: `**` any run, `*` any run without a slash, else itself."""

    @cache
    def from_(p: int, n: int) -> bool:
        if p == len(pattern):
            return n == len(name)
        if pattern.startswith("**", p):
            return any(from_(p + 2, m) for m in range(n, len(name) + 1))
        if pattern[p] == "*":
            stop = name.find("/", n)
            return any(from_(p + 1, m) for m in range(n, (len(name) if stop < 0 else stop) + 1))
        return n < len(name) and pattern[p] == name[n] and from_(p + 1, n + 1)

    return from_(0, 0)


@given(patterns, names)
def test_a_glob_matches_what_the_definition_says(pattern: str, name: str) -> None:
    expected = glob_problem(pattern) is None and reference(pattern, name)
    assert Globs((pattern,)).matches(name) is expected


@given(st.lists(patterns, max_size=4), names)
def test_a_list_of_globs_matches_what_any_of_them_matches(several: list[str], name: str) -> None:
    assert Globs(tuple(several)).matches(name) is any(Globs((pattern,)).matches(name) for pattern in several)


@given(names.filter(lambda name: "*" not in name))
def test_a_name_without_stars_is_a_glob_for_itself_alone(name: str) -> None:
    if glob_problem(name) is None:
        assert Globs((name,)).matches(name)
        assert not Globs((name,)).matches(name + "a")


@given(st.text(), st.text())
def test_matching_is_total(pattern: str, name: str) -> None:
    assert Globs((pattern,)).matches(name) in (True, False)
