"""What a key says of what it holds, and what is remembered of it."""

from gatebook.masking import words


def test_only_names_without_digits_are_remembered() -> None:
    words._kinds_of_a_word.cache_clear()
    for name in (b"4111111111111111", b"note_4111111111111111", b"card-number", "stra\u00dfe".encode(), b"k" * 33):
        words.kinds(name)
    assert words._kinds_of_a_word.cache_info().currsize == 0
    assert words.kinds(b"card_number") == words.kinds(b"card_number") == frozenset({"pan", "card"})
    assert words._kinds_of_a_word.cache_info()[:2] == (1, 1)
