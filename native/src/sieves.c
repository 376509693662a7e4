#include "sieves.h"

#include <string.h>

enum {
    FARTHEST = 64, /* bytes of what is read: a text of nothing else must not be read again at each of its places */
    SHORTEST = 14, /* digits of a card number that counts without words beside it */
    LONGEST = 19,
    ESCAPE = 7, /* bytes of \u00e9 and a point */
    GAP = 3,    /* bytes between two groups of digits */
    ESCAPED = 16, /* backslashes before a t */
};

static int is_letter(unsigned char byte)
{
    return (byte | 32) >= 'a' && (byte | 32) <= 'z';
}

static int is_gap(unsigned char byte)
{
    return byte == ' ' || byte == '\t' || byte == '.' || byte == '_' || byte == '-';
}

/* Whether an escape may end at `end`, or not have ended there: then what follows is not all the text's. */
static int is_behind_escape(const unsigned char *text, ptrdiff_t end)
{
    for (ptrdiff_t place = end < ESCAPE ? 0 : end - ESCAPE; place + 1 < end; place++)
        if (text[place] == '\\' && text[place + 1] == 'u')
            return 1;
    if (end > 0 && text[end - 1] == '.')
        end--;
    return end > 0 && text[end - 1] == '\\';
}

/* Whether a tab that is written as an escape stands before `place`. */
static int is_behind_tab(const unsigned char *text, ptrdiff_t place)
{
    return place > 1 && text[place - 1] == 't' && text[place - 2] == '\\';
}

/* Whether one begins at `place`, or may. */
static int is_before_tab(const unsigned char *text, ptrdiff_t length, ptrdiff_t place)
{
    const ptrdiff_t first = place;
    while (place < length && text[place] == '\\' && place - first < ESCAPED)
        place++;
    return place > first && (place == length || text[place] == 't' || place - first == ESCAPED);
}

/* ISO/IEC 7812-1, annex B. */
static int has_check_digit(const unsigned char *digits, ptrdiff_t count)
{
    unsigned sum = 0, doubled = 0;
    for (ptrdiff_t place = count - 1; place >= 0; place--, doubled = !doubled) {
        const unsigned digit = digits[place] - (unsigned)'0';
        sum += doubled ? digit * 2 - (digit > 4) * 9 : digit;
    }
    return sum % 10 == 0;
}

static int is_issued(const struct networks *networks, const unsigned char *digits, ptrdiff_t count)
{
    uint32_t prefix = 0;
    for (int place = 0; place < 6; place++)
        prefix = prefix * 10 + digits[place] - (unsigned)'0';
    for (size_t number = 0; number < networks->count; number++) {
        const struct issued *issued = &networks->issued[number];
        if (issued->length == (uint32_t)count && issued->low <= prefix && prefix <= issued->high)
            return 1;
    }
    return networks->count == 0;
}

/* Whether neighbouring groups of the digits between `start` and `past`, which are not farther apart than FARTHEST, may be read as one number. */
static int may_be_number(const struct networks *networks, const unsigned char *text, ptrdiff_t start, ptrdiff_t past)
{
    unsigned char digits[FARTHEST];
    ptrdiff_t ends[FARTHEST + 1], count = 0, groups = 0;
    ends[0] = 0;
    for (ptrdiff_t place = start; place < past; place++) {
        if (is_digit(text[place]))
            digits[count++] = text[place];
        if (is_digit(text[place]) && (place + 1 == past || !is_digit(text[place + 1])))
            ends[++groups] = count;
    }
    for (ptrdiff_t first = 0; first < groups; first++)
        for (ptrdiff_t last = first + 1; last <= groups && (count = ends[last] - ends[first]) <= LONGEST; last++)
            if (count >= SHORTEST && has_check_digit(digits + ends[first], count) && is_issued(networks, digits + ends[first], count))
                return 1;
    return 0;
}

ptrdiff_t sieve_past_no_number(const struct networks *networks, const unsigned char *text, ptrdiff_t length, ptrdiff_t place)
{
    ptrdiff_t start = place, past = place + 1, gap;
    for (;; start = gap - 1) {
        while (start > 0 && is_digit(text[start - 1]) && place - start <= FARTHEST)
            start--;
        for (gap = start; gap > 0 && start - gap < GAP && is_gap(text[gap - 1]);)
            gap--;
        if (gap == start || gap == 0 || !is_digit(text[gap - 1]) || place - start > FARTHEST)
            break;
    }
    if (is_behind_tab(text, gap) || is_behind_escape(text, start))
        return 0;
    for (;; past = gap + 1) {
        while (past < length && is_digit(text[past]) && past - place <= FARTHEST)
            past++;
        for (gap = past; gap < length && gap - past < GAP && is_gap(text[gap]);)
            gap++;
        if (gap == past || gap == length || !is_digit(text[gap]) || past - place > FARTHEST)
            break;
    }
    if (is_before_tab(text, length, gap) || past - start > FARTHEST)
        return 0;
    if (past - start < SHORTEST)
        return past;
    return may_be_number(networks, text, start, past) ? 0 : past;
}

static int no_number(const struct networks *networks, const unsigned char *text, ptrdiff_t length, ptrdiff_t first, ptrdiff_t end)
{
    while (first < end && !is_digit(text[first]))
        first++;
    return first < end && sieve_past_no_number(networks, text, length, first) > 0;
}

/* An e between digits before which a letter stands, or a quote, or a dash that is no sign. */
static int no_exponent(const unsigned char *text, ptrdiff_t first, ptrdiff_t end)
{
    ptrdiff_t place = first > 0 ? first : 1;
    while (place < end && !((text[place] | 32) == 'e' && is_digit(text[place - 1])))
        place++;
    if (place >= end)
        return 0;
    ptrdiff_t start = place;
    while (start > 0 && is_digit(text[start - 1]) && place - start <= FARTHEST)
        start--;
    ptrdiff_t before = start - 1;
    const int dash = before > 0 && text[before] == '-';
    before -= dash;
    if (place - start > FARTHEST || before < 0 || is_behind_escape(text, before + 1))
        return 0;
    if (is_letter(text[before]))
        return before == 0 || text[before - 1] != '\\';
    return text[before] == '"' || (dash && is_digit(text[before]));
}

/* "de52" at the beginning of hexadecimal digits that go on, as in "de52bd13-...". */
static int no_element(const unsigned char *text, ptrdiff_t length, ptrdiff_t first, ptrdiff_t end)
{
    ptrdiff_t place = first;
    while (place < end && !(length - place >= 4 && memcmp(text + place, "de", 2) == 0))
        place++;
    if (place == end)
        return 0;
    const unsigned char *number = text + place + 2;
    if (memcmp(number, "35", 2) != 0 && memcmp(number, "45", 2) != 0 && memcmp(number, "52", 2) != 0)
        return 0;
    if (place > 0 && (is_letter(text[place - 1]) || is_digit(text[place - 1]) || text[place - 1] == '\\'))
        return 0;
    ptrdiff_t past = place + 4;
    while (past < length && past - place <= FARTHEST && (is_digit(text[past]) || (text[past] >= 'a' && text[past] <= 'f')))
        past++;
    if (past - place < 8 || past - place > FARTHEST || is_digit(text[place + 4]))
        return 0;
    return past == length || !(is_letter(text[past]) || is_digit(text[past]));
}

int sieve_rules_out(enum sieve sieve, const struct networks *networks, const unsigned char *text, ptrdiff_t length, ptrdiff_t first, ptrdiff_t columns)
{
    const ptrdiff_t end = first + columns < length ? first + columns : length;
    first = first < 0 ? 0 : first;
    switch (sieve) {
    case SIEVE_NUMBER:
        return no_number(networks, text, length, first, end);
    case SIEVE_EXPONENT:
        return no_exponent(text, first, end);
    case SIEVE_ELEMENT:
        return no_element(text, length, first, end);
    default:
        return 0;
    }
}
