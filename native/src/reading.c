#define _GNU_SOURCE /* memmem */
#include "reading.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* What is read here is written by whoever calls the gate, or answers it. Every look is bounded by `end`; nothing is written but Python's objects. */
struct reading {
    const char *at, *end;
};

static PyObject *value(struct reading *in, int levels);

static void space(struct reading *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t'))
        in->at++;
}

static int sign(struct reading *in, char wanted)
{
    if (in->at == in->end || *in->at != wanted)
        return 0;
    in->at++;
    return 1;
}

/* A string without escapes. The quotation mark before it was taken. */
static PyObject *string(struct reading *in)
{
    const char *begin = in->at;
    unsigned char all = 0;
    for (; in->at < in->end; in->at++) {
        unsigned char byte = (unsigned char)*in->at;
        if (byte == '"') {
            Py_ssize_t count = in->at++ - begin;
            if (all & 0x80)
                return PyUnicode_DecodeUTF8(begin, count, NULL);
            PyObject *text = PyUnicode_New(count, 127);
            if (text != NULL)
                memcpy(PyUnicode_1BYTE_DATA(text), begin, (size_t)count);
            return text;
        }
        if (byte < 0x20 || byte == '\\')
            return NULL;
        all |= byte;
    }
    return NULL;
}

/* An integer of few digits, no zero in front, not "-0". Behind it nothing may come that goes on with a number: the caller wants a comma, or an end. */
static PyObject *integer(struct reading *in)
{
    int negative = sign(in, '-');
    const char *begin = in->at;
    long long number = 0;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9' && in->at - begin < MOST_DIGITS)
        number = 10 * number + (*in->at++ - '0');
    if (in->at == begin || (*begin == '0' && (in->at - begin > 1 || negative)))
        return NULL;
    return PyLong_FromLongLong(negative ? -number : number);
}

static PyObject *word(struct reading *in, const char *wanted, size_t count, PyObject *meant)
{
    if ((size_t)(in->end - in->at) < count || memcmp(in->at, wanted, count) != 0)
        return NULL;
    in->at += count;
    return Py_NewRef(meant);
}

/* The brackets that open were taken. */
static PyObject *list(struct reading *in, int levels)
{
    PyObject *items = PyList_New(0);
    if (items == NULL)
        return NULL;
    space(in);
    if (sign(in, ']'))
        return items;
    for (;;) {
        PyObject *item = value(in, levels);
        int failed = item == NULL || PyList_Append(items, item);
        Py_XDECREF(item);
        if (failed)
            break;
        space(in);
        if (sign(in, ']'))
            return items;
        if (!sign(in, ','))
            break;
    }
    Py_DECREF(items);
    return NULL;
}

static PyObject *object(struct reading *in, int levels)
{
    PyObject *members = PyDict_New();
    if (members == NULL)
        return NULL;
    space(in);
    if (sign(in, '}'))
        return members;
    for (Py_ssize_t count = 1;; count++) {
        space(in);
        PyObject *name = sign(in, '"') ? string(in) : NULL, *member = NULL;
        if (name != NULL) {
            space(in);
            member = sign(in, ':') ? value(in, levels) : NULL;
        }
        int failed = member == NULL || PyDict_SetItem(members, name, member);
        Py_XDECREF(name);
        Py_XDECREF(member);
        if (failed || PyDict_GET_SIZE(members) != count) /* a name twice: parsers differ on which one counts */
            break;
        space(in);
        if (sign(in, '}'))
            return members;
        if (!sign(in, ','))
            break;
    }
    Py_DECREF(members);
    return NULL;
}

static PyObject *value(struct reading *in, int levels)
{
    space(in);
    if (in->at == in->end)
        return NULL;
    switch (*in->at) {
    case '"':
        in->at++;
        return string(in);
    case '{':
        in->at++;
        return levels > 0 ? object(in, levels - 1) : NULL;
    case '[':
        in->at++;
        return levels > 0 ? list(in, levels - 1) : NULL;
    case 't':
        return word(in, "true", 4, Py_True);
    case 'f':
        return word(in, "false", 5, Py_False);
    case 'n':
        return word(in, "null", 4, Py_None);
    default:
        return integer(in);
    }
}

PyObject *plain_value(const char *text, size_t count, int levels)
{
    struct reading in = {text, text + count};
    PyObject *found = value(&in, levels);
    space(&in);
    if (found != NULL && in.at != in.end)
        Py_CLEAR(found);
    if (found == NULL)
        PyErr_Clear(); /* no UTF-8, or no memory: whoever reads it next will say so */
    return found;
}

/* --- Template --------------------------------------------------------------------------------------------------- */

enum { MOST_ID = 66 };

struct slice {
    const char *at;
    size_t count;
};

typedef struct {
    PyObject_HEAD
    PyObject *before, *between, *after; /* bytes */
    int id_first;
} Template;

static struct slice slice_of(PyObject *bytes)
{
    return (struct slice){PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes)};
}

static void template_dealloc(PyObject *object)
{
    Template *self = (Template *)object;
    Py_XDECREF(self->before);
    Py_XDECREF(self->between);
    Py_XDECREF(self->after);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *template_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    static char *names[] = {"before", "between", "after", "id_first", NULL};
    PyObject *before, *between, *after;
    int id_first;
    if (!PyArg_ParseTupleAndKeywords(args, named, "SSSp", names, &before, &between, &after, &id_first))
        return NULL;
    if (PyBytes_GET_SIZE(between) == 0) {
        PyErr_SetString(PyExc_ValueError, "something stands between two values");
        return NULL;
    }
    Template *self = (Template *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->before = Py_NewRef(before);
    self->between = Py_NewRef(between);
    self->after = Py_NewRef(after);
    self->id_first = id_first;
    return (PyObject *)self;
}

/* 0, 1 …, of at most 18 digits, or a string of at most 64 signs of printable ASCII without escapes. */
static int plain_id(struct slice id)
{
    if (id.count == 0)
        return 0;
    if (*id.at == '"') {
        if (id.count < 2 || id.count > MOST_ID || id.at[id.count - 1] != '"')
            return 0;
        for (size_t each = 1; each < id.count - 1; each++)
            if (id.at[each] < ' ' || id.at[each] > '~' || id.at[each] == '"' || id.at[each] == '\\')
                return 0;
        return 1;
    }
    for (size_t each = 0; each < id.count; each++)
        if (id.at[each] < '0' || id.at[each] > '9')
            return 0;
    return id.count <= MOST_DIGITS && (*id.at != '0' || id.count == 1);
}

/* Where `between` parts an id from something larger: not farther from the id's end than a plain id is long. */
static const char *cut_behind_id(struct slice in, struct slice between)
{
    size_t window = MOST_ID + between.count;
    return memmem(in.at, in.count < window ? in.count : window, between.at, between.count);
}

static const char *cut_before_id(struct slice in, struct slice what)
{
    size_t window = MOST_ID + what.count;
    if (in.count > window) {
        in.at += in.count - window;
        in.count = window;
    }
    for (size_t from = in.count - what.count + 1; from-- > 0;)
        if (in.at[from] == *what.at && memcmp(in.at + from, what.at, what.count) == 0)
            return in.at + from;
    return NULL;
}

static PyObject *template_fill(PyObject *object, PyObject *body)
{
    const Template *self = (const Template *)object;
    if (!PyBytes_CheckExact(body))
        Py_RETURN_NONE;
    struct slice whole = slice_of(body), before = slice_of(self->before), between = slice_of(self->between), after = slice_of(self->after);
    if (whole.count < before.count + between.count + after.count || memcmp(whole.at, before.at, before.count) != 0
        || memcmp(whole.at + whole.count - after.count, after.at, after.count) != 0)
        Py_RETURN_NONE;
    struct slice holes = {whole.at + before.count, whole.count - before.count - after.count};
    const char *cut = self->id_first ? cut_behind_id(holes, between) : cut_before_id(holes, between);
    if (cut == NULL)
        Py_RETURN_NONE;
    struct slice first = {holes.at, (size_t)(cut - holes.at)};
    struct slice last = {cut + between.count, holes.count - first.count - between.count};
    struct slice id = self->id_first ? first : last, arguments = self->id_first ? last : first;
    if (!plain_id(id) || arguments.count < 2 || *arguments.at != '{' || arguments.at[arguments.count - 1] != '}')
        Py_RETURN_NONE;
    PyObject *read = plain_value(arguments.at, arguments.count, MOST_LEVELS - 2);
    if (read == NULL)
        Py_RETURN_NONE;
    return Py_BuildValue("(y#y#N)", id.at, (Py_ssize_t)id.count, arguments.at, (Py_ssize_t)arguments.count, read);
}

static PyMethodDef template_methods[] = {
    {"fill", template_fill, METH_O, "fill(body): (id, arguments, the arguments' value), or None: unusual, or another message."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject Template_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "gatebook_speed.Template",
    .tp_doc = "Template(before, between, after, id_first): a request's bytes around its id and its arguments.",
    .tp_basicsize = sizeof(Template),
    .tp_dealloc = template_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = template_methods,
    .tp_new = template_new,
};

/* --- Result ----------------------------------------------------------------------------------------------------- */

#if defined(__SSE2__)
/* Which of 64 bytes are equal to `wanted`, a bit for each. */
static uint64_t equal_to(const __m128i *bytes, char wanted)
{
    uint64_t found = 0;
    for (int part = 0; part < 4; part++)
        found |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes[part], _mm_set1_epi8(wanted))) << 16 * part;
    return found;
}

/* Which of 64 bytes stand behind a backslash that is not behind one itself. Of a row of backslashes each second one is. */
static uint64_t behind(uint64_t backslashes)
{
    const uint64_t even = 0x5555555555555555u;
    uint64_t following = backslashes << 1;
    uint64_t begin_odd = backslashes & ~even & ~following;
    return (even ^ (begin_odd + backslashes) << 1) & following;
}

/* Passes over the inside of a string, 64 bytes at a time, as far as there is nothing in it but plain signs and the commonest escapes. */
static void pass_plain(struct reading *in)
{
    while (in->end - in->at >= 64) {
        __m128i bytes[4];
        uint64_t unusual = 0;
        for (int part = 0; part < 4; part++) {
            bytes[part] = _mm_loadu_si128((const __m128i *)(const void *)(in->at + 16 * part));
            /* As signed numbers, what is no ASCII lies below the space, too. */
            unusual |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmplt_epi8(bytes[part], _mm_set1_epi8(' '))) << 16 * part;
        }
        uint64_t backslashes = equal_to(bytes, '\\'), quotes = equal_to(bytes, '"');
        uint64_t escaped = behind(backslashes);
        uint64_t ends = unusual | (quotes & ~escaped) | (escaped & ~(quotes | backslashes | equal_to(bytes, 'n')));
        if (ends != 0) {
            int first = __builtin_ctzll(ends);
            in->at += first - (int)(escaped >> first & 1); /* before the backslash of an escape that is not passed here */
            return;
        }
        /* A backslash at the very end belongs to what comes. */
        in->at += 64 - (int)((backslashes & ~escaped) >> 63);
    }
}
#endif

static int hex_digit(char sign)
{
    return (sign >= '0' && sign <= '9') || (sign >= 'a' && sign <= 'f') || (sign >= 'A' && sign <= 'F');
}

/* One escape, no half of a surrogate pair. The backslash was taken. */
static int skip_escape(struct reading *in)
{
    if (in->at == in->end)
        return 0;
    if (*in->at != 'u')
        return memchr("\"\\/bfnrt", *in->at++, 8) != NULL;
    if (in->end - in->at < 5 || ((in->at[1] == 'd' || in->at[1] == 'D') && (in->at[2] < '0' || in->at[2] > '7')))
        return 0;
    for (int digit = 1; digit < 5; digit++)
        if (!hex_digit(in->at[digit]))
            return 0;
    in->at += 5;
    return 1;
}

/* A string of ASCII. The quotation mark before it was taken. */
static int skip_string(struct reading *in)
{
    while (in->at < in->end) {
#if defined(__SSE2__)
        pass_plain(in);
        if (in->at == in->end)
            return 0;
#endif
        unsigned char byte = (unsigned char)*in->at++;
        if (byte == '"')
            return 1;
        if (byte < 0x20 || byte >= 0x80 || (byte == '\\' && !skip_escape(in)))
            return 0;
    }
    return 0;
}

static int skip_digits(struct reading *in)
{
    const char *begin = in->at;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9')
        in->at++;
    return in->at > begin;
}

static int skip_number(struct reading *in)
{
    sign(in, '-');
    const char *begin = in->at;
    if (!skip_digits(in) || (*begin == '0' && in->at - begin > 1))
        return 0;
    if (sign(in, '.') && !skip_digits(in))
        return 0;
    if (sign(in, 'e') || sign(in, 'E')) {
        if (!sign(in, '-'))
            sign(in, '+');
        return skip_digits(in);
    }
    return 1;
}

static int skip_word(struct reading *in, const char *wanted, size_t count)
{
    if ((size_t)(in->end - in->at) < count || memcmp(in->at, wanted, count) != 0)
        return 0;
    in->at += count;
    return 1;
}

/* A member's name and what stands behind it. */
static int skip_name(struct reading *in)
{
    space(in);
    if (!sign(in, '"') || !skip_string(in))
        return 0;
    space(in);
    return sign(in, ':');
}

/* A value, whatever is in it, and the space before it. Not by recursion: a bit says of each open bracket whether it is an object's. */
static int skip_value(struct reading *in)
{
    uint64_t objects = 0;
    for (int levels = 0;;) {
        space(in);
        if (in->at == in->end)
            return 0;
        char first = *in->at;
        int whole = 1;
        if (first == '{' || first == '[') {
            in->at++;
            space(in);
            if (!sign(in, first == '{' ? '}' : ']')) {
                if (levels == MOST_LEVELS || (first == '{' && !skip_name(in)))
                    return 0;
                objects = objects << 1 | (first == '{');
                levels++;
                continue;
            }
        } else if (first == '"') {
            in->at++;
            whole = skip_string(in);
        } else if (first == 't') {
            whole = skip_word(in, "true", 4);
        } else if (first == 'f') {
            whole = skip_word(in, "false", 5);
        } else if (first == 'n') {
            whole = skip_word(in, "null", 4);
        } else {
            whole = skip_number(in);
        }
        if (!whole)
            return 0;
        for (;; objects >>= 1, levels--) {
            if (levels == 0)
                return 1;
            space(in);
            if (sign(in, ',')) {
                if ((objects & 1) && !skip_name(in))
                    return 0;
                break;
            }
            if (!sign(in, objects & 1 ? '}' : ']'))
                return 0;
        }
    }
}

static int is(struct slice text, const char *wanted)
{
    return text.count == strlen(wanted) && memcmp(text.at, wanted, text.count) == 0;
}

/* The next member of an object: its name between the quotation marks, as it stands, and its value. An escape in the name is left to others. */
static int member(struct reading *in, struct slice *name, struct slice *value)
{
    space(in);
    const char *begin = in->at;
    if (!skip_name(in))
        return 0;
    begin++;
    const char *quote = memchr(begin, '"', (size_t)(in->at - begin));
    if (quote == NULL || memchr(begin, '\\', (size_t)(quote - begin)) != NULL)
        return 0;
    *name = (struct slice){begin, (size_t)(quote - begin)};
    space(in);
    value->at = in->at;
    if (!skip_value(in))
        return 0;
    value->count = (size_t)(in->at - value->at);
    return 1;
}

/* Keeps a member's value; 0 where it was there already. */
static int keep(struct slice *kept, struct slice value)
{
    if (kept->at != NULL)
        return 0;
    *kept = value;
    return 1;
}

/* What is said in the members of a result. The bracket before them was taken. */
static int inside(struct reading *in, struct slice *failed, struct slice *type)
{
    space(in);
    if (sign(in, '}'))
        return 1;
    for (struct slice name, value;;) {
        if (!member(in, &name, &value))
            return 0;
        if (is(name, "isError") && !keep(failed, value))
            return 0;
        if (is(name, "resultType") && !keep(type, value))
            return 0;
        space(in);
        if (sign(in, '}'))
            return 1;
        if (!sign(in, ','))
            return 0;
    }
}

PyObject *result_of(const char *text, size_t count)
{
    struct reading in = {text, text + count};
    struct slice version = {0}, id = {0}, failed = {0}, type = {0};
    int results = 0;
    space(&in);
    for (char before = '{'; sign(&in, before); before = ',') {
        space(&in);
        if (skip_word(&in, "\"result\"", 8)) {
            space(&in);
            if (!sign(&in, ':'))
                return NULL;
            space(&in);
            if (results++ || !sign(&in, '{') || !inside(&in, &failed, &type))
                return NULL;
        } else {
            struct slice name, value;
            if (!member(&in, &name, &value) || !(is(name, "id") ? keep(&id, value) : is(name, "jsonrpc") && keep(&version, value)))
                return NULL;
        }
        space(&in);
    }
    if (!sign(&in, '}') || results != 1 || version.at == NULL || !is(version, "\"2.0\"") || !plain_id(id))
        return NULL;
    space(&in);
    if (in.at != in.end)
        return NULL;
    PyObject *stated = Py_NewRef(Py_None);
    if (type.at != NULL) {
        struct reading quoted = {type.at + 1, type.at + type.count};
        Py_SETREF(stated, *type.at == '"' ? string(&quoted) : NULL);
    }
    PyObject *said = stated == NULL ? NULL : Py_BuildValue("(y#ON)", id.at, (Py_ssize_t)id.count, is(failed, "true") ? Py_True : Py_False, stated);
    if (said == NULL)
        PyErr_Clear();
    return said;
}
