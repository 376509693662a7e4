#include "gist.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { MOST_DIGITS = 17 };

/* Every look is bounded by `end`. What is read was written by a room that the sealer does not trust. */
struct looking {
    const char *at, *end;
};

static inline int take(struct looking *in, const char *bytes, size_t count)
{
    if ((size_t)(in->end - in->at) < count || memcmp(in->at, bytes, count) != 0)
        return 0;
    in->at += count;
    return 1;
}

#define TAKE(in, literal) take(in, literal, sizeof literal - 1)

/* A string as JSON writes it without an escape, and in ASCII. */
static int text(struct looking *in, struct stretch *found)
{
    if (!TAKE(in, "\""))
        return 0;
    const char *begin = in->at;
#if defined(__SSE2__)
    while (in->end - in->at >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)in->at);
        /* As signed numbers, what is no ASCII lies below the space, too. */
        __m128i ends = _mm_or_si128(_mm_cmplt_epi8(bytes, _mm_set1_epi8(' ')),
                                    _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
        unsigned which = (unsigned)_mm_movemask_epi8(ends);
        if (which != 0) {
            in->at += __builtin_ctz(which);
            break;
        }
        in->at += 16;
    }
#endif
    while (in->at < in->end && (unsigned char)*in->at >= ' ' && (unsigned char)*in->at < 0x80 && *in->at != '"' && *in->at != '\\')
        in->at++;
    *found = (struct stretch){begin, (size_t)(in->at - begin)};
    return TAKE(in, "\"");
}

static int some_text(struct looking *in)
{
    struct stretch passed;
    return text(in, &passed);
}

/* An integer in the one way in which it is written; of so few digits that nothing overflows. */
static int integer(struct looking *in, int64_t *found)
{
    int negative = TAKE(in, "-");
    const char *begin = in->at;
    int64_t number = 0;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9' && in->at - begin < MOST_DIGITS)
        number = 10 * number + (*in->at++ - '0');
    if (in->at == begin || (*begin == '0' && (in->at - begin > 1 || negative)))
        return 0;
    *found = negative ? -number : number;
    return 1;
}

static int some_integer(struct looking *in)
{
    int64_t passed;
    return integer(in, &passed);
}

static int truth(struct looking *in)
{
    return TAKE(in, "true") || TAKE(in, "false");
}

/* Whether a member of this name comes; it was the first of its object where `begun` is not set. */
static int member(struct looking *in, int *begun, const char *quoted, size_t count)
{
    const char *before = in->at;
    if ((*begun && !TAKE(in, ",")) || !take(in, quoted, count)) {
        in->at = before;
        return 0;
    }
    *begun = 1;
    return 1;
}

#define MEMBER(in, begun, word) member(in, begun, "\"" word "\":", sizeof word + 2)
#define OPTIONAL(in, begun, word) (!MEMBER(in, begun, word) || some_text(in))
#define DEMANDED(in, begun, word) (MEMBER(in, begun, word) && some_text(in))

enum values { TEXTS, COUNTS, FACTS };

/* A dictionary with its keys in order, none twice; an empty one is not written. `sum`: of the COUNTS. */
static int dictionary(struct looking *in, enum values values, int64_t *sum)
{
    struct stretch key, before = {NULL, 0};
    int64_t count;
    if (!TAKE(in, "{"))
        return 0;
    do {
        if (!text(in, &key) || !TAKE(in, ":"))
            return 0;
        if (before.at != NULL) {
            int order = memcmp(before.at, key.at, before.count < key.count ? before.count : key.count);
            if (order > 0 || (order == 0 && before.count >= key.count))
                return 0;
        }
        before = key;
        if (values == COUNTS) {
            if (!integer(in, &count) || __builtin_add_overflow(*sum, count, sum))
                return 0;
        } else if (!(values == FACTS && (truth(in) || some_integer(in))) && !some_text(in)) {
            return 0;
        }
    } while (TAKE(in, ","));
    return TAKE(in, "}");
}

static int clock(struct looking *in)
{
    return TAKE(in, "{\"off\":") && some_integer(in) && TAKE(in, ",\"ok\":") && truth(in) && TAKE(in, ",\"src\":") && some_text(in) && TAKE(in, "}");
}

static int origin(struct looking *in)
{
    int begun = 0;
    return TAKE(in, "{") && OPTIONAL(in, &begun, "client") && DEMANDED(in, &begun, "ip") && TAKE(in, "}");
}

static int payloads(struct looking *in)
{
    if (!TAKE(in, "["))
        return 0;
    do {
        if (!TAKE(in, "{\"bytes\":") || !some_integer(in) || !TAKE(in, ",\"c\":") || !some_text(in) || !TAKE(in, ",\"key\":") || !some_text(in)
            || !TAKE(in, ",\"part\":") || !some_text(in) || !TAKE(in, ",\"x\":") || !some_text(in) || !TAKE(in, "}"))
            return 0;
    } while (TAKE(in, ","));
    return TAKE(in, "]");
}

static int policy(struct looking *in)
{
    return TAKE(in, "{\"config\":") && some_text(in) && (TAKE(in, ",\"decision\":\"permit\"") || TAKE(in, ",\"decision\":\"deny\""))
        && TAKE(in, ",\"rule\":") && some_text(in) && TAKE(in, ",\"snapshot\":") && some_integer(in) && TAKE(in, "}");
}

static int asked(struct looking *in)
{
    int begun = 0;
    return TAKE(in, "{") && OPTIONAL(in, &begun, "fp") && OPTIONAL(in, &begun, "id") && OPTIONAL(in, &begun, "kid")
        && (!MEMBER(in, &begun, "shape") || dictionary(in, TEXTS, NULL)) && TAKE(in, "}");
}

static int resource(struct looking *in)
{
    int begun = 0;
    return TAKE(in, "{") && DEMANDED(in, &begun, "kind") && OPTIONAL(in, &begun, "method") && OPTIONAL(in, &begun, "name")
        && OPTIONAL(in, &begun, "server") && TAKE(in, "}");
}

static int kind_of_who(struct looking *in)
{
    return TAKE(in, "\"person\"") || TAKE(in, "\"job\"") || TAKE(in, "\"service\"") || TAKE(in, "\"operator\"") || TAKE(in, "\"unknown\"");
}

static int methods(struct looking *in)
{
    if (!TAKE(in, "["))
        return 0;
    do {
        if (!some_text(in))
            return 0;
    } while (TAKE(in, ","));
    return TAKE(in, "]");
}

static int who(struct looking *in)
{
    int begun = 0;
    return TAKE(in, "{") && OPTIONAL(in, &begun, "acr") && OPTIONAL(in, &begun, "acting_for") && OPTIONAL(in, &begun, "agent")
        && (!MEMBER(in, &begun, "amr") || methods(in)) && (!MEMBER(in, &begun, "auth_time") || some_integer(in))
        && (!MEMBER(in, &begun, "declared") || TAKE(in, "true")) && DEMANDED(in, &begun, "iss") && MEMBER(in, &begun, "kind") && kind_of_who(in)
        && OPTIONAL(in, &begun, "login") && DEMANDED(in, &begun, "sub") && TAKE(in, "}");
}

int gist_of(const char *leaf, size_t count, struct gist *found)
{
    struct looking in = {leaf, leaf + count};
    int begun = 0;
    *found = (struct gist){.sequence = 0};
    /* In the order of RFC 8785 §3.2.3, as `leaf_write` has it. */
    return TAKE(&in, "{") && (!MEMBER(&in, &begun, "call") || text(&in, &found->call)) && MEMBER(&in, &begun, "clk") && clock(&in)
        && OPTIONAL(&in, &begun, "cred") && (!MEMBER(&in, &begun, "dlp") || dictionary(&in, COUNTS, &found->findings))
        && MEMBER(&in, &begun, "ev") && text(&in, &found->event) && MEMBER(&in, &begun, "from") && origin(&in) && DEMANDED(&in, &begun, "id")
        && (!MEMBER(&in, &begun, "n") || some_integer(&in)) && TAKE(&in, ",\"out\":{\"ok\":") && truth(&in) && TAKE(&in, ",\"reason\":")
        && some_text(&in) && TAKE(&in, "}") && (!MEMBER(&in, &begun, "pay") || payloads(&in)) && (!MEMBER(&in, &begun, "pol") || policy(&in))
        && OPTIONAL(&in, &begun, "prof") && (!MEMBER(&in, &begun, "q") || asked(&in)) && MEMBER(&in, &begun, "res") && resource(&in)
        && (!MEMBER(&in, &begun, "sess") || text(&in, &found->session)) && MEMBER(&in, &begun, "t") && text(&in, &found->time)
        && TAKE(&in, ",\"v\":1,\"w\":{\"e\":") && text(&in, &found->epoch) && TAKE(&in, ",\"n\":") && text(&in, &found->writer)
        && TAKE(&in, ",\"s\":") && integer(&in, &found->sequence) && TAKE(&in, "}") && MEMBER(&in, &begun, "who") && who(&in)
        && (!MEMBER(&in, &begun, "x") || dictionary(&in, FACTS, NULL)) && TAKE(&in, "}") && in.at == in.end;
}
