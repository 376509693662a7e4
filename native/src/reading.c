#define _GNU_SOURCE /* memmem */
#include "reading.h"

#include <string.h>

/* What is read here is written by whoever calls the gate. Every look is bounded by `end`; nothing is written but Python's objects. */
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
        if (id.count < 2 || id.count > 66 || id.at[id.count - 1] != '"')
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

static const char *last_of(struct slice in, struct slice what)
{
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
    const char *cut = self->id_first ? memmem(holes.at, holes.count, between.at, between.count) : last_of(holes, between);
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
