/* JSON as it is written canonically (RFC 8785), of plain ASCII, integers and truths; where anything else comes, nothing is made of it. */
#ifndef GATEBOOK_JSON_H
#define GATEBOOK_JSON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

enum { MOST_KEYS = 32 };

/* `at` grows up to `end`. Once `unusual`, what was written is of no use, and nothing more is. */
struct writing {
    char *at, *end;
    int unusual;
};

static inline void put(struct writing *to, const char *bytes, size_t count)
{
    if (to->unusual || (size_t)(to->end - to->at) < count) {
        to->unusual = 1;
        return;
    }
    memcpy(to->at, bytes, count); /* inlined: what is put is most often a few bytes that the compiler knows */
    to->at += count;
}

#define PUT(to, literal) put(to, literal, sizeof literal - 1)

/* The name of a member, with the comma before it where it is not the first: no value ends in a brace that opens. */
void name(struct writing *to, const char *quoted, size_t count);

#define NAME(to, word) name(to, "\"" word "\":", sizeof word + 2)

/* Whether a text is one that JSON writes as it is, in ASCII and without an escape, and where it lies. */
int plain_text(PyObject *text, const char **bytes, size_t *count);

void quoted(struct writing *to, const char *bytes, size_t count);
void text(struct writing *to, PyObject *value);
/* One of the fields that PCI DSS 10.2.2 demands: not empty. */
void demanded(struct writing *to, PyObject *value);
void truth(struct writing *to, PyObject *value);
void number(struct writing *to, int64_t value);
/* An integer that every reader of JSON keeps exact. */
void integer(struct writing *to, PyObject *value);

struct key {
    const char *bytes;
    size_t count;
    PyObject *value; /* borrowed */
    int64_t times;
};

int compare(const struct key *one, const struct key *other);
/* `new` goes where it belongs among `count` sorted keys, of MOST_KEYS. */
void insert(struct key *sorted, size_t count, struct key new);

/* A dictionary with its keys in order (RFC 8785 §3.2.3); `facts`: integers and truths may stand among the texts. */
void dictionary(struct writing *to, PyObject *members, int facts);

/* A member that is left out where it is None. */
#define OPTIONAL(to, word, value)                                                                                                               \
    do {                                                                                                                                        \
        PyObject *optional = value;                                                                                                             \
        if (optional != Py_None) {                                                                                                              \
            NAME(to, word);                                                                                                                     \
            text(to, optional);                                                                                                                 \
        }                                                                                                                                       \
    } while (0)

/* Left out where it is empty. */
#define OPTIONAL_DICTIONARY(to, word, value, facts)                                                                                             \
    do {                                                                                                                                        \
        PyObject *optional = value;                                                                                                             \
        if (optional == NULL || !PyDict_CheckExact(optional))                                                                                   \
            (to)->unusual = 1;                                                                                                                  \
        else if (PyDict_GET_SIZE(optional) > 0) {                                                                                               \
            NAME(to, word);                                                                                                                     \
            dictionary(to, optional, facts);                                                                                                    \
        }                                                                                                                                       \
    } while (0)

#endif
