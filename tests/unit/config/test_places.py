"""Where each key of a TOML text stands."""

from gatebook.config.places import describe, lines

TEXT = '''# comment [not.a.table]
a = 1
b.c = "x = [1]" # { }
d = """
e = 1
"""
f = [
  1,
  { g = 2, h = [ 3, 4 ] }, # comment ]
  "]",
]
[t]
i = { j = { k = 1 } }
[t.u]
"quoted key" = 1
[[s]]
n = 1
[[s]]
n = 2
[s.sub]
m = 1
[[s.inner]]
o = 1
[[s.inner]]
o = 2
'''


def test_every_key_has_its_line() -> None:
    found = lines(TEXT)
    expected = {
        ("a",): 2,
        ("b", "c"): 3,
        ("d",): 4,
        ("f",): 7,
        ("f", 0): 8,
        ("f", 1): 9,
        ("f", 1, "g"): 9,
        ("f", 1, "h", 1): 9,
        ("f", 2): 10,
        ("t",): 12,
        ("t", "i", "j", "k"): 13,
        ("t", "u", "quoted key"): 15,
        ("s", 0, "n"): 17,
        ("s", 1, "n"): 19,
        ("s", 1, "sub", "m"): 21,
        ("s", 1, "inner", 0, "o"): 23,
        ("s", 1, "inner", 1, "o"): 25,
    }
    assert {path: found.get(path) for path in expected} == expected
    assert ("e",) not in found


def test_a_key_that_is_not_there_gets_the_line_of_what_it_would_be_in() -> None:
    found = lines(TEXT)
    assert describe(("s", 1, "url"), found) == "s[1].url (line 18)"
    assert describe(("nowhere",), found) == "nowhere"


def test_a_text_that_cannot_be_followed_gives_fewer_places_and_no_failure() -> None:
    for cut in range(len(TEXT)):
        lines(TEXT[:cut])
        lines(TEXT[cut:])
