#include "json.h"

#include <string.h>

#include "seal.h"

static const int64_t MAX_INTEGER = ((int64_t)1 << 53) - 1;

void name(struct writing *to, const char *quoted, size_t count)
{
    if (!to->unusual && to->at[-1] != '{')
        PUT(to, ",");
    put(to, quoted, count);
}

static int is_plain(const unsigned char *bytes, size_t count)
{
    /* Eight at a time: a byte below 0x20, a quotation mark or a backslash shows in its highest bit (ASCII was seen to by the caller). */
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    for (; count >= 8; bytes += 8, count -= 8) {
        uint64_t eight;
        memcpy(&eight, bytes, 8);
        uint64_t quote = eight ^ ones * '"', backslash = eight ^ ones * '\\';
        if ((((eight - ones * 0x20) & ~eight) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)) & high)
            return 0;
    }
    for (; count > 0; bytes++, count--)
        if (*bytes < 0x20 || *bytes == '"' || *bytes == '\\')
            return 0;
    return 1;
}

int plain_text(PyObject *text, const char **bytes, size_t *count)
{
    if (text == NULL || !PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text))
        return 0;
    *bytes = (const char *)PyUnicode_1BYTE_DATA(text);
    *count = (size_t)PyUnicode_GET_LENGTH(text);
    return is_plain((const unsigned char *)*bytes, *count);
}

void quoted(struct writing *to, const char *bytes, size_t count)
{
    PUT(to, "\"");
    put(to, bytes, count);
    PUT(to, "\"");
}

void text(struct writing *to, PyObject *value)
{
    const char *bytes;
    size_t count;
    if (!plain_text(value, &bytes, &count)) {
        to->unusual = 1;
        return;
    }
    quoted(to, bytes, count);
}

void demanded(struct writing *to, PyObject *value)
{
    text(to, value);
    if (!to->unusual && PyUnicode_GET_LENGTH(value) == 0)
        to->unusual = 1;
}

void truth(struct writing *to, PyObject *value)
{
    if (value == Py_True)
        PUT(to, "true");
    else if (value == Py_False)
        PUT(to, "false");
    else
        to->unusual = 1;
}

void number(struct writing *to, int64_t value)
{
    char digits[21];
    size_t count = 0;
    if (value < 0)
        digits[count++] = '-';
    count += decimal_of(value < 0 ? 0 - (uint64_t)value : (uint64_t)value, digits + count);
    put(to, digits, count);
}

void integer(struct writing *to, PyObject *value)
{
    int beyond = 1;
    int64_t exact = value != NULL && PyLong_CheckExact(value) ? PyLong_AsLongLongAndOverflow(value, &beyond) : 0;
    if (beyond != 0 || exact < -MAX_INTEGER || exact > MAX_INTEGER)
        to->unusual = 1;
    else
        number(to, exact);
}

int compare(const struct key *one, const struct key *other)
{
    size_t count = one->count < other->count ? one->count : other->count;
    int order = memcmp(one->bytes, other->bytes, count);
    return order != 0 ? order : (one->count > other->count) - (one->count < other->count);
}

void insert(struct key *sorted, size_t count, struct key new)
{
    size_t place = count;
    for (; place > 0 && compare(&sorted[place - 1], &new) > 0; place--)
        sorted[place] = sorted[place - 1];
    sorted[place] = new;
}

void dictionary(struct writing *to, PyObject *members, int facts)
{
    struct key sorted[MOST_KEYS];
    size_t count = 0;
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(members, &position, &key, &value)) {
        struct key new = {.value = value};
        if (count == MOST_KEYS || !plain_text(key, &new.bytes, &new.count)) {
            to->unusual = 1;
            return;
        }
        insert(sorted, count++, new);
    }
    PUT(to, "{");
    for (size_t each = 0; each < count && !to->unusual; each++) {
        if (each > 0)
            PUT(to, ",");
        quoted(to, sorted[each].bytes, sorted[each].count);
        PUT(to, ":");
        value = sorted[each].value;
        if (facts && PyBool_Check(value))
            truth(to, value);
        else if (facts && PyLong_CheckExact(value))
            integer(to, value);
        else
            text(to, value);
    }
    PUT(to, "}");
}
