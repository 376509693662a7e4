#include "leaf.h"

#include <structmember.h>

#include <string.h>

#include "json.h"

/* --- where members lie ------------------------------------------------------------------------------------------ */

static const char *const NAMES[STRUCTS][MOST_MEMBERS + 1] = {
    [DRAFT] = {"event", "ok", "reason", "who", "origin", "resource", "call", "session", "policy", "credential", "asked", "findings", "payloads",
               "detail"},
    [WHO] = {"acr", "acting_for", "agent", "amr", "auth_time", "declared", "iss", "kind", "login", "sub"},
    [ORIGIN] = {"client", "ip"},
    [RESOURCE] = {"kind", "method", "name", "server"},
    [POLICY] = {"config", "decision", "rule", "snapshot"},
    [ASKED] = {"fp", "id", "kid", "shape"},
    [PAYLOAD] = {"part", "body"},
    [FINDING] = {"detector", "action"},
    [CLOCKED] = {"off", "ok", "src"},
};

static int place_of(PyObject *type, const char *name, Py_ssize_t *at)
{
    PyObject *found = PyObject_GetAttrString(type, name);
    if (found == NULL)
        return -1;
    int known = Py_IS_TYPE(found, &PyMemberDescr_Type) && PyDescr_TYPE(found) == (PyTypeObject *)type;
    if (known) {
        const struct PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        known = member->type == T_OBJECT_EX && member->offset >= (Py_ssize_t)sizeof(PyObject);
        *at = member->offset;
    }
    Py_DECREF(found);
    if (!known) {
        PyErr_Format(PyExc_TypeError, "%R keeps %s in a way that is not known here", type, name);
        return -1;
    }
    return 0;
}

int members_load(PyObject *classes, struct members *all)
{
    if (!PyTuple_CheckExact(classes) || PyTuple_GET_SIZE(classes) != STRUCTS) {
        PyErr_Format(PyExc_TypeError, "a tuple of %d classes is wanted", STRUCTS);
        return -1;
    }
    for (int each = 0; each < STRUCTS; each++) {
        PyObject *type = PyTuple_GET_ITEM(classes, each);
        if (!PyType_Check(type)) {
            PyErr_Format(PyExc_TypeError, "%R is no class", type);
            return -1;
        }
        for (int which = 0; NAMES[each][which] != NULL; which++)
            if (place_of(type, NAMES[each][which], &all[each].at[which]))
                return -1;
        all[each].type = (PyTypeObject *)Py_NewRef(type);
    }
    return 0;
}

void members_clear(struct members *all)
{
    for (int each = 0; each < STRUCTS; each++)
        Py_CLEAR(all[each].type);
}

/* --- the parts of an entry -------------------------------------------------------------------------------------- */

static int is_a(const struct members *of, PyObject *object, struct writing *to)
{
    if (object != NULL && Py_IS_TYPE(object, of->type))
        return 1;
    to->unusual = 1;
    return 0;
}

static void clocked(struct writing *to, const struct members *of, PyObject *clock)
{
    if (!is_a(of, clock, to))
        return;
    PUT(to, "{\"off\":");
    integer(to, member(of, clock, C_OFF));
    PUT(to, ",\"ok\":");
    truth(to, member(of, clock, C_OK));
    PUT(to, ",\"src\":");
    text(to, member(of, clock, C_SRC));
    PUT(to, "}");
}

/* How often each kind of finding came, `detector:action`. */
static void findings(struct writing *to, const struct members *of, PyObject *found)
{
    struct key sorted[MOST_KEYS];
    char names[MOST_KEYS][MOST_NAME];
    size_t kinds = 0;
    for (Py_ssize_t each = 0; each < PyTuple_GET_SIZE(found); each++) {
        PyObject *finding = PyTuple_GET_ITEM(found, each);
        const char *detector, *action;
        size_t detector_bytes, action_bytes;
        if (!is_a(of, finding, to))
            return;
        if (kinds == MOST_KEYS || !plain_text(member(of, finding, F_DETECTOR), &detector, &detector_bytes)
            || !plain_text(member(of, finding, F_ACTION), &action, &action_bytes) || detector_bytes + 1 + action_bytes > MOST_NAME) {
            to->unusual = 1;
            return;
        }
        char *own = names[kinds];
        struct key new = {.bytes = own, .count = detector_bytes + 1 + action_bytes, .times = 1};
        memcpy(own, detector, detector_bytes);
        own[detector_bytes] = ':';
        memcpy(own + detector_bytes + 1, action, action_bytes);
        size_t seen = 0;
        while (seen < kinds && compare(&sorted[seen], &new) != 0)
            seen++;
        if (seen < kinds)
            sorted[seen].times++;
        else
            insert(sorted, kinds++, new);
    }
    NAME(to, "dlp");
    PUT(to, "{");
    for (size_t each = 0; each < kinds; each++) {
        if (each > 0)
            PUT(to, ",");
        quoted(to, sorted[each].bytes, sorted[each].count);
        PUT(to, ":");
        number(to, sorted[each].times);
    }
    PUT(to, "}");
}

static void origin(struct writing *to, const struct members *of, PyObject *from)
{
    if (!is_a(of, from, to))
        return;
    PUT(to, "{");
    OPTIONAL(to, "client", member(of, from, O_CLIENT));
    NAME(to, "ip");
    demanded(to, member(of, from, O_IP));
    PUT(to, "}");
}

/* Zeros to be written over. Where they lie; of no use once `to` is unusual. */
static char *digest(struct writing *to)
{
    static const char ZEROS[] = "0000000000000000000000000000000000000000000000000000000000000000";
    quoted(to, ZEROS, 2 * HASH_BYTES);
    return to->unusual ? NULL : to->at - 1 - 2 * HASH_BYTES;
}

static void payloads(struct writing *to, const struct facts *facts)
{
    PUT(to, ",\"pay\":[");
    for (size_t each = 0; each < facts->payloads; each++) {
        if (each > 0)
            PUT(to, ",");
        PUT(to, "{\"bytes\":");
        number(to, (int64_t)facts->bodies[each].count);
        PUT(to, ",\"c\":");
        facts->told[each].commitment = digest(to);
        PUT(to, ",\"key\":");
        quoted(to, facts->key->name, facts->key->name_bytes);
        PUT(to, ",\"part\":");
        quoted(to, facts->bodies[each].part, facts->bodies[each].part_bytes);
        PUT(to, ",\"x\":");
        facts->told[each].digest = digest(to);
        PUT(to, "}");
    }
    PUT(to, "]");
}

static void policy(struct writing *to, const struct members *of, PyObject *judged)
{
    if (!is_a(of, judged, to))
        return;
    PUT(to, ",\"pol\":{\"config\":");
    text(to, member(of, judged, P_CONFIG));
    PUT(to, ",\"decision\":");
    text(to, member(of, judged, P_DECISION));
    PUT(to, ",\"rule\":");
    text(to, member(of, judged, P_RULE));
    PUT(to, ",\"snapshot\":");
    integer(to, member(of, judged, P_SNAPSHOT));
    PUT(to, "}");
}

static void asked(struct writing *to, const struct members *of, PyObject *question)
{
    if (!is_a(of, question, to))
        return;
    PUT(to, ",\"q\":{");
    OPTIONAL(to, "fp", member(of, question, A_FP));
    OPTIONAL(to, "id", member(of, question, A_ID));
    OPTIONAL(to, "kid", member(of, question, A_KID));
    OPTIONAL_DICTIONARY(to, "shape", member(of, question, A_SHAPE), 0);
    PUT(to, "}");
}

static void resource(struct writing *to, const struct members *of, PyObject *reached)
{
    if (!is_a(of, reached, to))
        return;
    PUT(to, ",\"res\":{\"kind\":");
    demanded(to, member(of, reached, R_KIND));
    OPTIONAL(to, "method", member(of, reached, R_METHOD));
    OPTIONAL(to, "name", member(of, reached, R_NAME));
    OPTIONAL(to, "server", member(of, reached, R_SERVER));
    PUT(to, "}");
}

static void who(struct writing *to, const struct members *of, PyObject *user)
{
    if (!is_a(of, user, to))
        return;
    PUT(to, ",\"who\":{");
    OPTIONAL(to, "acr", member(of, user, W_ACR));
    OPTIONAL(to, "acting_for", member(of, user, W_ACTING_FOR));
    OPTIONAL(to, "agent", member(of, user, W_AGENT));
    PyObject *methods = member(of, user, W_AMR);
    if (methods == NULL || !PyTuple_CheckExact(methods))
        to->unusual = 1;
    else if (PyTuple_GET_SIZE(methods) > 0) {
        NAME(to, "amr");
        PUT(to, "[");
        for (Py_ssize_t each = 0; each < PyTuple_GET_SIZE(methods) && !to->unusual; each++) {
            if (each > 0)
                PUT(to, ",");
            text(to, PyTuple_GET_ITEM(methods, each));
        }
        PUT(to, "]");
    }
    PyObject *since = member(of, user, W_AUTH_TIME);
    if (since != Py_None) {
        NAME(to, "auth_time");
        integer(to, since);
    }
    PyObject *declared = member(of, user, W_DECLARED);
    if (declared != Py_False) {
        NAME(to, "declared");
        truth(to, declared);
    }
    NAME(to, "iss");
    demanded(to, member(of, user, W_ISS));
    NAME(to, "kind");
    text(to, member(of, user, W_KIND));
    OPTIONAL(to, "login", member(of, user, W_LOGIN));
    NAME(to, "sub");
    demanded(to, member(of, user, W_SUB));
    PUT(to, "}");
}

/* --- identifier and time ---------------------------------------------------------------------------------------- */

/* A UUIDv7, RFC 9562 §5.7, as `entry.uuid7` takes it from milliseconds and ten bytes. */
static void identifier(struct writing *to, int64_t unix_us, const unsigned char *chance)
{
    unsigned char raw[16];
    char digits[32], uuid[36];
    uint64_t millis = (uint64_t)unix_us / 1000;
    for (int byte = 0; byte < 6; byte++)
        raw[byte] = (unsigned char)(millis >> 8 * (5 - byte));
    memcpy(raw + 6, chance, CHANCE_BYTES);
    raw[6] = (raw[6] & 0x0F) | 0x70;
    hex_of(raw, sizeof raw, digits);
    digits[16] = "89ab"[chance[2] >> 6];
    const int ends[] = {8, 12, 16, 20, 32};
    for (int part = 0, from = 0, at = 0; part < 5; from = ends[part++]) {
        if (part > 0)
            uuid[at++] = '-';
        memcpy(uuid + at, digits + from, (size_t)(ends[part] - from));
        at += ends[part] - from;
    }
    quoted(to, uuid, sizeof uuid);
}

static void digits_of(char *at, int64_t value, int count)
{
    for (int digit = count - 1; digit >= 0; digit--, value /= 10)
        at[digit] = (char)('0' + value % 10);
}

/* `2026-11-22T16:31:28.000001Z`. The date from a count of days: the calendar repeats every 146,097 days; a year here begins in March. */
static void instant(struct writing *to, int64_t unix_us)
{
    char stamp[] = "0000-00-00T00:00:00.000000Z";
    int64_t seconds = unix_us / 1000000, days = seconds / 86400 + 719468;
    int64_t era = days / 146097, of_era = days % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    digits_of(stamp, era * 400 + year + (month >= 10), 4);
    digits_of(stamp + 5, month < 10 ? month + 3 : month - 9, 2);
    digits_of(stamp + 8, of_year - (153 * month + 2) / 5 + 1, 2);
    digits_of(stamp + 11, seconds / 3600 % 24, 2);
    digits_of(stamp + 14, seconds / 60 % 60, 2);
    digits_of(stamp + 17, seconds % 60, 2);
    digits_of(stamp + 20, unix_us % 1000000, 6);
    quoted(to, stamp, sizeof stamp - 1);
}

size_t leaf_write(const struct members *all, const struct author *by, PyObject *draft, const struct facts *facts, char *leaf)
{
    static const int64_t YEAR_10000_US = 253402300800000000;
    const struct members *of = &all[DRAFT];
    struct writing to = {.at = leaf, .end = leaf + MOST_LEAF};
    if (facts->unix_us < 0 || facts->unix_us >= YEAR_10000_US)
        return 0;
    /* In the order of RFC 8785 §3.2.3. */
    PUT(&to, "{");
    OPTIONAL(&to, "call", member(of, draft, D_CALL));
    NAME(&to, "clk");
    clocked(&to, &all[CLOCKED], facts->clock);
    OPTIONAL(&to, "cred", member(of, draft, D_CREDENTIAL));
    PyObject *found = member(of, draft, D_FINDINGS);
    if (found == NULL || !PyTuple_CheckExact(found))
        return 0;
    if (PyTuple_GET_SIZE(found) > 0)
        findings(&to, &all[FINDING], found);
    PUT(&to, ",\"ev\":");
    demanded(&to, member(of, draft, D_EVENT));
    PUT(&to, ",\"from\":");
    origin(&to, &all[ORIGIN], member(of, draft, D_ORIGIN));
    PUT(&to, ",\"id\":");
    identifier(&to, facts->unix_us, facts->chance);
    if (facts->count >= 0) {
        PUT(&to, ",\"n\":");
        number(&to, facts->count);
    }
    PUT(&to, ",\"out\":{\"ok\":");
    truth(&to, member(of, draft, D_OK));
    PUT(&to, ",\"reason\":");
    demanded(&to, member(of, draft, D_REASON));
    PUT(&to, "}");
    if (facts->payloads > 0)
        payloads(&to, facts);
    PyObject *judged = member(of, draft, D_POLICY);
    if (judged != Py_None)
        policy(&to, &all[POLICY], judged);
    if (by->development)
        PUT(&to, ",\"prof\":\"dev\"");
    PyObject *question = member(of, draft, D_ASKED);
    if (question != Py_None)
        asked(&to, &all[ASKED], question);
    resource(&to, &all[RESOURCE], member(of, draft, D_RESOURCE));
    OPTIONAL(&to, "sess", member(of, draft, D_SESSION));
    PUT(&to, ",\"t\":");
    instant(&to, facts->unix_us);
    PUT(&to, ",\"v\":1,\"w\":{\"e\":");
    quoted(&to, by->epoch, by->epoch_bytes);
    PUT(&to, ",\"n\":");
    quoted(&to, by->writer, by->writer_bytes);
    PUT(&to, ",\"s\":");
    number(&to, (int64_t)facts->number);
    PUT(&to, "}");
    who(&to, &all[WHO], member(of, draft, D_WHO));
    OPTIONAL_DICTIONARY(&to, "x", member(of, draft, D_DETAIL), 1);
    PUT(&to, "}");
    return to.unusual ? 0 : (size_t)(to.at - leaf);
}
