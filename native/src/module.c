/* gatebook_speed: what Gatebook's scribe makes of a draft, in one call, and what its parsers read (reading.h). Never another byte than
   Python's own, or nothing at all.

   Python decides and Python numbers; here is the common case alone: plain ASCII, a key that is ready, structs of the very classes. Whatever is
   unusual gives None, and so does whatever fails: then the scribe composes the record itself. */
#include "leaf.h"

#include <string.h>

#include "crc32c.h"
#include "gist.h"
#include "json.h"
#include "prefilter.h"
#include "reading.h"

/* From so many bytes of bodies on the interpreter goes on meanwhile, and the tools are this call's own. */
enum { LARGE_BYTES = 32 << 10 };

/* Used under the GIL only. Their key lies in a Key's own context. */
static EVP_MD_CTX *shared_inner, *shared_sealed;

static const char SEALED_FOR[] = "gatebook payload 1";

/* --- Key -------------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    struct data_key it;
} Key;

static void key_dealloc(PyObject *self)
{
    struct data_key *it = &((Key *)self)->it;
    ossl.EVP_CIPHER_CTX_free(it->cipher); /* which cleanses */
    ossl.OPENSSL_cleanse(it, sizeof *it);
    PyObject_Free(self);
}

static PyTypeObject Key_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "gatebook_speed.Key",
    .tp_doc = "A session's data key, ready to seal. Made by Composer.key; its memory is cleansed when it goes.",
    .tp_basicsize = sizeof(Key),
    .tp_dealloc = key_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};

/* --- Composer --------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    struct author by;
    size_t most; /* content of a stored frame */
    struct members all[STRUCTS];
} Composer;

static int short_name(PyObject *text, const char *what, char *own, size_t *own_bytes)
{
    const char *bytes;
    size_t count;
    if (!plain_text(text, &bytes, &count) || count == 0 || count > MOST_NAME) {
        PyErr_Format(PyExc_ValueError, "a %s is a short text without signs that JSON would escape", what);
        return -1;
    }
    memcpy(own, bytes, count);
    *own_bytes = count;
    return 0;
}

static void composer_dealloc(PyObject *self)
{
    members_clear(((Composer *)self)->all);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *composer_new(PyTypeObject *type, PyObject *args, PyObject *named)
{
    static char *names[] = {"writer", "epoch", "development", "piece_bytes", "classes", NULL};
    PyObject *writer, *epoch, *classes;
    int development;
    Py_ssize_t most;
    if (!PyArg_ParseTupleAndKeywords(args, named, "UUpnO", names, &writer, &epoch, &development, &most, &classes))
        return NULL;
    if (most < 1 || most > 1 << 30) {
        PyErr_SetString(PyExc_ValueError, "piece_bytes is from 1 to 2^30");
        return NULL;
    }
    Composer *self = (Composer *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->by.development = development;
    self->most = (size_t)most;
    if (short_name(writer, "writer", self->by.writer, &self->by.writer_bytes) || short_name(epoch, "epoch", self->by.epoch, &self->by.epoch_bytes)
        || members_load(classes, self->all)) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void add(unsigned char *to, size_t *at, const void *bytes, size_t count)
{
    memcpy(to + *at, bytes, count);
    *at += count;
}

static int digit_of(char sign)
{
    return sign >= '0' && sign <= '9' ? sign - '0' : sign >= 'a' && sign <= 'f' ? sign - 'a' + 10 : -1;
}

static PyObject *composer_key(PyObject *self, PyObject *args)
{
    const struct author *by = &((Composer *)self)->by;
    PyObject *data_key, *name, *session;
    const char *digits;
    size_t count;
    if (!PyArg_ParseTuple(args, "SUU:key", &data_key, &name, &session))
        return NULL;
    if (PyBytes_GET_SIZE(data_key) != DATA_KEY_BYTES || !plain_text(session, &digits, &count) || count != 32) {
        PyErr_SetString(PyExc_ValueError, "a data key of 32 bytes and a session of 32 hex digits are wanted");
        return NULL;
    }
    Key *made = PyObject_New(Key, &Key_type);
    if (made == NULL)
        return NULL;
    struct data_key *it = &made->it;
    memset(it, 0, sizeof *it);
    if (short_name(name, "key's name", it->name, &it->name_bytes))
        goto failed;
    memcpy(it->key, PyBytes_AS_STRING(data_key), DATA_KEY_BYTES);

    add(it->bound, &it->bound_bytes, SEALED_FOR, sizeof SEALED_FOR); /* with the zero at its end, which parts the names */
    add(it->bound, &it->bound_bytes, digits, count);
    add(it->bound, &it->bound_bytes, "", 1);
    add(it->bound, &it->bound_bytes, by->writer, by->writer_bytes);
    add(it->bound, &it->bound_bytes, "", 1);
    add(it->bound, &it->bound_bytes, by->epoch, by->epoch_bytes);

    for (int byte = 0; byte < 16; byte++) {
        int high = digit_of(digits[2 * byte]), low = digit_of(digits[2 * byte + 1]);
        if (high < 0 || low < 0) {
            PyErr_SetString(PyExc_ValueError, "a session is named by 32 hex digits");
            goto failed;
        }
        it->place[byte] = (unsigned char)(high << 4 | low);
    }
    it->place_bytes = 36;
    unsigned char length = (unsigned char)by->writer_bytes;
    add(it->place, &it->place_bytes, &length, 1);
    add(it->place, &it->place_bytes, by->writer, by->writer_bytes);
    length = (unsigned char)by->epoch_bytes;
    add(it->place, &it->place_bytes, &length, 1);
    add(it->place, &it->place_bytes, by->epoch, by->epoch_bytes);

    it->cipher = ossl.EVP_CIPHER_CTX_new();
    if (it->cipher == NULL || ossl.EVP_EncryptInit_ex2(it->cipher, ossl.aes256gcm, it->key, NULL, NULL) != 1) {
        ossl.ERR_clear_error();
        Py_DECREF(made);
        Py_RETURN_NONE;
    }
    return (PyObject *)made;
failed:
    Py_DECREF(made);
    return NULL;
}

/* --- a draft on its way ----------------------------------------------------------------------------------------- */

struct drafted {
    struct facts facts;
    struct body bodies[MOST_PAYLOADS];
    struct told told[MOST_PAYLOADS];
    size_t body_bytes, pieces;
};

static int is_part(const char *part, size_t count)
{
    static const char *const PARTS[] = {"request", "response", "event", "message"};
    for (size_t each = 0; each < sizeof PARTS / sizeof PARTS[0]; each++)
        if (strlen(PARTS[each]) == count && memcmp(PARTS[each], part, count) == 0)
            return 1;
    return 0;
}

static int exact_number(PyObject *value, int64_t least, int64_t *number)
{
    int beyond = 1;
    *number = PyLong_CheckExact(value) ? PyLong_AsLongLongAndOverflow(value, &beyond) : 0;
    return beyond == 0 && *number >= least;
}

/* What `args` tell, (draft, unix_us, clock, chance, number, count, key). False: unusual. */
static int taken(const Composer *self, PyObject *const *args, struct drafted *to)
{
    int64_t sequence = 0;
    PyObject *draft = args[0], *chance = args[3], *key = args[6];
    struct facts *facts = &to->facts;
    *facts = (struct facts){.count = -1, .clock = args[2], .bodies = to->bodies, .told = to->told};
    to->body_bytes = to->pieces = 0;
    if (!Py_IS_TYPE(draft, self->all[DRAFT].type) || !exact_number(args[1], 0, &facts->unix_us) || !exact_number(args[4], 1, &sequence))
        return 0;
    facts->number = (uint64_t)sequence;
    if (args[5] != Py_None && !exact_number(args[5], 0, &facts->count))
        return 0;
    PyObject *recorded = member(&self->all[DRAFT], draft, D_PAYLOADS);
    if (recorded == NULL || !PyTuple_CheckExact(recorded) || PyTuple_GET_SIZE(recorded) > MOST_PAYLOADS)
        return 0;
    facts->payloads = (size_t)PyTuple_GET_SIZE(recorded);
    if (!PyBytes_CheckExact(chance) || (size_t)PyBytes_GET_SIZE(chance) != CHANCE_BYTES + SALT_BYTES * facts->payloads)
        return 0;
    facts->chance = (const unsigned char *)PyBytes_AS_STRING(chance);
    if (facts->payloads > 0 && !Py_IS_TYPE(key, &Key_type))
        return 0;
    facts->key = facts->payloads > 0 ? &((Key *)key)->it : NULL;
    for (size_t each = 0; each < facts->payloads; each++) {
        PyObject *one = PyTuple_GET_ITEM(recorded, (Py_ssize_t)each);
        struct body *body = &to->bodies[each];
        if (!Py_IS_TYPE(one, self->all[PAYLOAD].type))
            return 0;
        PyObject *bytes = member(&self->all[PAYLOAD], one, B_BODY);
        if (!plain_text(member(&self->all[PAYLOAD], one, B_PART), &body->part, &body->part_bytes) || !is_part(body->part, body->part_bytes))
            return 0;
        if (bytes == NULL || !PyBytes_CheckExact(bytes) || PyBytes_GET_SIZE(bytes) > 1 << 30)
            return 0;
        body->bytes = (const unsigned char *)PyBytes_AS_STRING(bytes);
        body->count = (size_t)PyBytes_GET_SIZE(bytes);
        to->body_bytes += body->count;
        to->pieces += pieces_of(sealed_bytes(body), self->most);
    }
    return 1;
}

/* All payloads into frames that are there already. */
static int seal_all(const Composer *self, struct drafted *drafted, const struct tools *tools, unsigned char *const *frames)
{
    const struct facts *facts = &drafted->facts;
    const unsigned char *salt = facts->chance + CHANCE_BYTES;
    for (size_t each = 0; each < facts->payloads; each++, salt += SALT_BYTES) {
        const struct body *body = &drafted->bodies[each];
        if (seal(facts->key, tools, body, salt, facts->number, (uint32_t)each, self->most, frames, &drafted->told[each]))
            return -1;
        frames += pieces_of(sealed_bytes(body), self->most);
    }
    return 0;
}

/* The same with tools of its own, while other threads run. */
static int seal_apart(const Composer *self, struct drafted *drafted, unsigned char *const *frames)
{
    struct tools own = {ossl.EVP_MD_CTX_new(), ossl.EVP_MD_CTX_new(), ossl.EVP_CIPHER_CTX_new()};
    int failed = own.inner == NULL || own.sealed == NULL || own.cipher == NULL
        || ossl.EVP_EncryptInit_ex2(own.cipher, ossl.aes256gcm, drafted->facts.key->key, NULL, NULL) != 1 || seal_all(self, drafted, &own, frames);
    if (failed)
        ossl.ERR_clear_error(); /* of this thread: `ssl` would take it for its own */
    ossl.EVP_MD_CTX_free(own.inner);
    ossl.EVP_MD_CTX_free(own.sealed);
    ossl.EVP_CIPHER_CTX_free(own.cipher);
    return failed ? -1 : 0;
}

/* What the frames of all payloads take. */
static size_t sealed_frames_bytes(const Composer *self, const struct drafted *drafted)
{
    size_t bytes = 0;
    for (size_t each = 0; each < drafted->facts.payloads; each++) {
        const size_t sealed = sealed_bytes(&drafted->bodies[each]);
        bytes += sealed + pieces_of(sealed, self->most) * (FRAME_BYTES + drafted->facts.key->place_bytes);
    }
    return bytes;
}

/* The frames of all payloads, one behind the other. 1: done. 0: nothing is to be made of them. -1: an exception. */
static int seal_into(const Composer *self, struct drafted *drafted, unsigned char *frames)
{
    unsigned char *few[16], **places = few;
    size_t at = 0;
    int done;
    if (drafted->pieces > sizeof few / sizeof few[0] && (places = PyMem_Calloc(drafted->pieces, sizeof *places)) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t each = 0; each < drafted->facts.payloads; each++) {
        const size_t sealed = sealed_bytes(&drafted->bodies[each]), count = pieces_of(sealed, self->most);
        for (size_t piece = 0; piece < count; piece++, at++) {
            places[at] = frames;
            frames += FRAME_BYTES + drafted->facts.key->place_bytes + piece_bytes(sealed, self->most, piece);
        }
    }
    if (drafted->body_bytes >= LARGE_BYTES) {
        Py_BEGIN_ALLOW_THREADS
        done = seal_apart(self, drafted, places) == 0;
        Py_END_ALLOW_THREADS
    } else {
        struct tools shared = {shared_inner, shared_sealed, drafted->facts.key->cipher};
        done = seal_all(self, drafted, &shared, places) == 0;
    }
    if (places != few)
        PyMem_Free(places);
    return done;
}

static void leaf_frame(unsigned char *frame, const char *leaf, size_t count)
{
    frame_header(frame, (uint32_t)count, crc32c_extend(frame_begun((uint32_t)count, LEAF_KIND), leaf, count), LEAF_KIND);
    memcpy(frame + FRAME_BYTES, leaf, count);
}

static PyObject *composer_compose(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    const Composer *self = (const Composer *)object;
    struct drafted drafted;
    char leaf[MOST_LEAF];
    unsigned char hash[HASH_BYTES];
    if (count != 7) {
        PyErr_SetString(PyExc_TypeError, "compose(draft, unix_us, clock, chance, number, count, key)");
        return NULL;
    }
    if (!taken(self, args, &drafted))
        Py_RETURN_NONE;
    size_t length = leaf_write(self->all, &self->by, args[0], &drafted.facts, leaf);
    if (length == 0)
        Py_RETURN_NONE;
    const size_t before = sealed_frames_bytes(self, &drafted);
    PyObject *frames = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(before + FRAME_BYTES + length));
    if (frames == NULL)
        return NULL;
    unsigned char *bytes = (unsigned char *)PyBytes_AS_STRING(frames);
    int sealed = drafted.facts.payloads > 0 ? seal_into(self, &drafted, bytes) : 1;
    if (sealed < 0)
        goto failed;
    if (!sealed || sha256_of(shared_inner, "", 1, leaf, length, hash)) {
        ossl.ERR_clear_error();
        Py_DECREF(frames);
        Py_RETURN_NONE;
    }
    leaf_frame(bytes + before, leaf, length);
    PyObject *hashed = PyBytes_FromStringAndSize((const char *)hash, sizeof hash);
    if (hashed == NULL)
        goto failed;
    PyObject *both = PyTuple_Pack(2, frames, hashed);
    Py_DECREF(frames);
    Py_DECREF(hashed);
    return both;
failed:
    Py_DECREF(frames);
    return NULL;
}

static PyObject *composer_fits(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    const Composer *self = (const Composer *)object;
    struct drafted drafted;
    char leaf[MOST_LEAF];
    if (count != 7) {
        PyErr_SetString(PyExc_TypeError, "fits(draft, unix_us, clock, chance, number, count, key)");
        return NULL;
    }
    if (!taken(self, args, &drafted))
        Py_RETURN_FALSE;
    return PyBool_FromLong(leaf_write(self->all, &self->by, args[0], &drafted.facts, leaf) > 0);
}

static PyMethodDef composer_methods[] = {
    {"key", composer_key, METH_VARARGS, "key(data_key, name, session): the data key of a session, ready to seal; None where OpenSSL takes it not. Raises ValueError."},
    {"compose", (PyCFunction)(void (*)(void))composer_compose, METH_FASTCALL,
     "compose(draft, unix_us, clock, chance, number, count, key): (frames, one behind the other as they are stored; the leaf's hash), or None: unusual.\n"
     "Any thread may call it; what it makes is its arguments' alone."},
    {"fits", (PyCFunction)(void (*)(void))composer_fits, METH_FASTCALL,
     "fits(draft, unix_us, clock, chance, number, count, key): whether `compose` of the same gives an entry, as far as the draft decides it."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject Composer_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "gatebook_speed.Composer",
    .tp_doc = "Composer(writer, epoch, development, piece_bytes, classes): makes drafts of one writer's epoch into frames.",
    .tp_basicsize = sizeof(Composer),
    .tp_dealloc = composer_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = composer_methods,
    .tp_new = composer_new,
};

/* --- Prefilter --------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    struct prefilter it;
    PyObject *beside; /* another one that is asked, too; or NULL */
    struct factor *factors;
    unsigned char *columns;
    struct issued *issued;
} Prefilter;

static PyTypeObject Prefilter_type;

static void prefilter_dealloc(PyObject *object)
{
    Prefilter *self = (Prefilter *)object;
    Py_XDECREF(self->beside);
    free(self->it.tables);
    PyMem_Free(self->factors);
    PyMem_Free(self->columns);
    PyMem_Free(self->issued);
    Py_TYPE(object)->tp_free(object);
}

/* What stands before a factor's columns: the number of its anchor, and that of its sieve. */
enum { BEFORE_COLUMNS = 2 };

/* Bytes of a factor's columns; 0 where `factor` is none. */
static size_t columns_of(PyObject *factor)
{
    if (!PyBytes_CheckExact(factor) || PyBytes_GET_SIZE(factor) % PREFILTER_COLUMN != BEFORE_COLUMNS)
        return 0;
    const size_t length = (size_t)PyBytes_GET_SIZE(factor) / PREFILTER_COLUMN;
    const unsigned char *before = (const unsigned char *)PyBytes_AS_STRING(factor);
    return length <= PREFILTER_LONGEST && before[0] < length && before[1] < SIEVES ? length * PREFILTER_COLUMN : 0;
}

/* Factors and columns of all buckets, copied. -1: they are none, or there is no memory. */
static int prefilter_take(Prefilter *self, PyObject *buckets)
{
    size_t count = 0, bytes = 0;
    for (Py_ssize_t which = 0; which < PyTuple_GET_SIZE(buckets); which++) {
        PyObject *bucket = PyTuple_GET_ITEM(buckets, which);
        if (!PyTuple_CheckExact(bucket))
            return -1;
        for (Py_ssize_t number = 0; number < PyTuple_GET_SIZE(bucket); number++, count++) {
            const size_t size = columns_of(PyTuple_GET_ITEM(bucket, number));
            if (size == 0)
                return -1;
            bytes += size;
        }
    }
    struct factor *factor = self->factors = PyMem_Calloc(count + 1, sizeof *factor);
    unsigned char *columns = self->columns = PyMem_Malloc(bytes + 1);
    if (factor == NULL || columns == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t which = 0; which < PyTuple_GET_SIZE(buckets); which++) {
        PyObject *bucket = PyTuple_GET_ITEM(buckets, which);
        self->it.buckets[which] = (struct bucket){.factors = factor, .count = (size_t)PyTuple_GET_SIZE(bucket)};
        for (Py_ssize_t number = 0; number < PyTuple_GET_SIZE(bucket); number++, factor++) {
            PyObject *given = PyTuple_GET_ITEM(bucket, number);
            const size_t size = columns_of(given);
            const unsigned char *before = (const unsigned char *)PyBytes_AS_STRING(given);
            memcpy(columns, before + BEFORE_COLUMNS, size);
            *factor = (struct factor){.columns = columns, .length = size / PREFILTER_COLUMN, .anchor = before[0], .sieve = before[1]};
            columns += size;
        }
    }
    const int prepared = prefilter_prepare(&self->it);
    if (prepared < 0)
        PyErr_NoMemory();
    return prepared;
}

/* What networks issue, copied. -1: it is none, or there is no memory. */
static int prefilter_take_issued(Prefilter *self, PyObject *issued)
{
    const Py_ssize_t count = PyTuple_GET_SIZE(issued);
    self->issued = PyMem_Calloc((size_t)count + 1, sizeof *self->issued);
    if (self->issued == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t number = 0; number < count; number++) {
        struct issued *to = &self->issued[number];
        PyObject *given = PyTuple_GET_ITEM(issued, number);
        if (!PyTuple_CheckExact(given) || !PyArg_ParseTuple(given, "III", &to->length, &to->low, &to->high))
            return -1;
    }
    self->it.networks = (struct networks){.issued = self->issued, .count = (size_t)count};
    return 0;
}

static PyObject *prefilter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *buckets, *beside = Py_None, *issued = NULL;
    const int most = prefilter_at_once();
    int at_once = most;
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) || !PyArg_ParseTuple(args, "O!|OO!i:Prefilter", &PyTuple_Type, &buckets, &beside, &PyTuple_Type, &issued, &at_once)) {
        PyErr_SetString(PyExc_TypeError, "Prefilter(buckets, beside, issued, at_once)");
        return NULL;
    }
    const int fits = PyTuple_GET_SIZE(buckets) <= PREFILTER_BUCKETS && (beside == Py_None || Py_IS_TYPE(beside, &Prefilter_type)) && at_once <= most;
    Prefilter *self = fits ? (Prefilter *)type->tp_alloc(type, 0) : NULL;
    if (self != NULL && prefilter_take(self, buckets) == 0 && (issued == NULL || prefilter_take_issued(self, issued) == 0)) {
        self->it.at_once = at_once;
        if (beside != Py_None)
            self->beside = Py_NewRef(beside);
        return (PyObject *)self;
    }
    Py_XDECREF(self);
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "at most 32 tuples of bytes: the place of a factor's anchor, the number of its sieve, and 33 for each of its columns; at_once at most PREFILTERS");
    return NULL;
}

static PyObject *prefilter_asked(PyObject *object, PyObject *text)
{
    if (!PyBytes_CheckExact(text)) /* whatever else it is, the patterns tell */
        Py_RETURN_TRUE;
    for (const Prefilter *asked = (const Prefilter *)object; asked != NULL; asked = (const Prefilter *)asked->beside)
        if (prefilter_may_hold(&asked->it, (const unsigned char *)PyBytes_AS_STRING(text), (size_t)PyBytes_GET_SIZE(text)))
            Py_RETURN_TRUE;
    Py_RETURN_FALSE;
}

static PyMethodDef prefilter_methods[] = {
    {"may_hold", prefilter_asked, METH_O, "may_hold(text): False: none of the factors occurs in it, nor of those beside."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject Prefilter_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "gatebook_speed.Prefilter",
    .tp_doc = "Prefilter(buckets, beside=None, issued=(), at_once=PREFILTERS): looks for all factors at once, and for those of another one, at so many"
              " bytes at a time as PREFILTERS says, or as it would on another machine: 64, 32 or 0. `issued`: of the card numbers that count, length"
              " and first six digits, from and to. Raises ValueError. Of use where PREFILTERS is not 0.",
    .tp_basicsize = sizeof(Prefilter),
    .tp_dealloc = prefilter_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = prefilter_methods,
    .tp_new = prefilter_new,
};

/* --- the module ------------------------------------------------------------------------------------------------- */

static PyObject *crc_by_table(PyObject *module, PyObject *args)
{
    Py_buffer bytes;
    unsigned int crc;
    (void)module;
    if (!PyArg_ParseTuple(args, "Iy*:crc32c_by_table", &crc, &bytes))
        return NULL;
    crc = crc32c_by_table(crc, bytes.buf, (size_t)bytes.len);
    PyBuffer_Release(&bytes);
    return PyLong_FromUnsignedLong(crc);
}

static PyObject *read_plain(PyObject *module, PyObject *body)
{
    (void)module;
    PyObject *read = PyBytes_CheckExact(body) ? plain_value(PyBytes_AS_STRING(body), (size_t)PyBytes_GET_SIZE(body), MOST_LEVELS) : NULL;
    return read != NULL ? read : Py_NewRef(Py_NotImplemented);
}

static PyObject *read_result(PyObject *module, PyObject *body)
{
    (void)module;
    PyObject *read = PyBytes_CheckExact(body) ? result_of(PyBytes_AS_STRING(body), (size_t)PyBytes_GET_SIZE(body)) : NULL;
    return read != NULL ? read : Py_NewRef(Py_None);
}

/* A stretch of ASCII as a text; None where it is not there. */
static PyObject *text_of(struct stretch found)
{
    if (found.at == NULL)
        return Py_NewRef(Py_None);
    PyObject *text = PyUnicode_New((Py_ssize_t)found.count, 127);
    if (text != NULL)
        memcpy(PyUnicode_1BYTE_DATA(text), found.at, found.count);
    return text;
}

static int is_text(PyObject *text, struct stretch found)
{
    return PyUnicode_CheckExact(text) && PyUnicode_IS_COMPACT_ASCII(text) && (size_t)PyUnicode_GET_LENGTH(text) == found.count
        && memcmp(PyUnicode_1BYTE_DATA(text), found.at, found.count) == 0;
}

static PyObject *gist(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    struct gist found;
    (void)module;
    if (count != 3 || !PyBytes_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "gist(leaf, writer, epoch)");
        return NULL;
    }
    if (!gist_of(PyBytes_AS_STRING(args[0]), (size_t)PyBytes_GET_SIZE(args[0]), &found) || !is_text(args[1], found.writer) || !is_text(args[2], found.epoch))
        Py_RETURN_NONE;
    return Py_BuildValue("(LNNNNL)", (long long)found.sequence, text_of(found.event), text_of(found.session), text_of(found.call),
                         text_of(found.time), (long long)found.findings);
}

static PyMethodDef functions[] = {
    {"gist", (PyCFunction)(void (*)(void))gist, METH_FASTCALL,
     "gist(leaf, writer, epoch): (sequence, event, session, call, time, findings) of that writer's entry, or None: unusual, or no such entry."},
    {"read", read_plain, METH_O, "read(body): the value of a JSON text that every parser reads alike, or NotImplemented: unusual, or no such text."},
    {"result", read_result, METH_O, "result(body): the id, isError and resultType of a server's result in ASCII, or None: unusual, or something else."},
    {"crc32c_by_table", crc_by_table, METH_VARARGS, "crc32c_by_table(crc, bytes): for tests; machines without SSE 4.2 go this way."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "gatebook_speed",
    .m_doc = "Gatebook's records composed, and plain requests read, by native code. Optional: Gatebook does the same without it, slower.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit_gatebook_speed(void)
{
    const char *missing = openssl_load();
    if (missing != NULL) {
        PyErr_SetString(PyExc_ImportError, missing);
        return NULL;
    }
    if (shared_inner == NULL && (shared_inner = ossl.EVP_MD_CTX_new()) == NULL)
        return PyErr_NoMemory();
    if (shared_sealed == NULL && (shared_sealed = ossl.EVP_MD_CTX_new()) == NULL)
        return PyErr_NoMemory();
    crc32c_prepare();
    if (PyType_Ready(&Key_type) || PyType_Ready(&Composer_type) || PyType_Ready(&Template_type) || PyType_Ready(&Prefilter_type))
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL)
        return NULL;
    if (PyModule_AddStringConstant(module, "VERSION", GATEBOOK_SPEED_VERSION) || PyModule_AddObjectRef(module, "Composer", (PyObject *)&Composer_type)
        || PyModule_AddObjectRef(module, "Key", (PyObject *)&Key_type) || PyModule_AddObjectRef(module, "Template", (PyObject *)&Template_type)
        || PyModule_AddObjectRef(module, "Prefilter", (PyObject *)&Prefilter_type)
        || PyModule_AddIntConstant(module, "PREFILTERS", prefilter_at_once())) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
