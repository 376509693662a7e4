#include "prefilter.h"

#include <string.h>

int prefilter_works(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") != 0;
#else
    return 0;
#endif
}

static int admits(const unsigned char *column, unsigned byte)
{
    return column[byte / 8] >> byte % 8 & 1;
}

static void find_common_bits(struct factor *factor)
{
    unsigned char mask[8] = {0}, value[8] = {0};
    for (size_t place = 0; place < 8 && factor->anchor + place < factor->length; place++) {
        const unsigned char *column = factor->columns + (factor->anchor + place) * PREFILTER_COLUMN;
        unsigned every = 255, any = 0;
        for (unsigned byte = 0; byte < 256; byte++)
            if (admits(column, byte)) {
                every &= byte;
                any |= byte;
            }
        if (any >= every) { /* it admits one at all */
            mask[place] = (unsigned char)~(any ^ every);
            value[place] = (unsigned char)(any & mask[place]);
        }
    }
    memcpy(&factor->mask, mask, sizeof mask);
    memcpy(&factor->value, value, sizeof value);
}

void prefilter_prepare(struct prefilter *filter)
{
    for (int which = 0; which < PREFILTER_BUCKETS; which++) {
        const int eight = which / 8;
        const uint8_t bit = (uint8_t)(1u << which % 8);
        struct bucket *bucket = &filter->buckets[which];
        if (bucket->count)
            filter->eighths = eight + 1;
        for (struct factor *factor = bucket->factors; factor < bucket->factors + bucket->count; factor++) {
            find_common_bits(factor);
            for (size_t place = 0; place < PREFILTER_LOOK; place++) {
                const int ended = factor->anchor + place >= factor->length;
                const unsigned char *column = factor->columns + (ended ? 0 : factor->anchor + place) * PREFILTER_COLUMN;
                if (ended || column[PREFILTER_COLUMN - 1] & COLUMN_END)
                    filter->behind[eight][place] |= bit;
                for (unsigned byte = 0; byte < 256; byte++)
                    if (ended || admits(column, byte)) {
                        filter->low[eight][place][byte & 15] |= bit;
                        filter->high[eight][place][byte >> 4] |= bit;
                    }
            }
        }
    }
}

/* Whether the factor stands at `first`, where -1 is what stands before the text and `length` what stands behind it. */
static int stands(const struct factor *factor, const unsigned char *text, ptrdiff_t length, ptrdiff_t first)
{
    const unsigned char *column = factor->columns;
    for (size_t place = 0; place < factor->length; place++, column += PREFILTER_COLUMN) {
        const ptrdiff_t at = first + (ptrdiff_t)place;
        if (at >= 0 && at < length) {
            if (!admits(column, text[at]))
                return 0;
        } else if (at < -1 || at > length || !(column[PREFILTER_COLUMN - 1] & (at < 0 ? COLUMN_START : COLUMN_END))) {
            return 0;
        }
    }
    return 1;
}

/* Whether a factor of one of these buckets stands with its anchor at `at`. */
static int any_stands(const struct prefilter *filter, uint32_t buckets, const unsigned char *text, ptrdiff_t length, ptrdiff_t at)
{
    uint64_t here = 0;
    const int whole = at + (ptrdiff_t)sizeof here <= length;
    if (whole)
        memcpy(&here, text + at, sizeof here);
    for (; buckets; buckets &= buckets - 1) {
        const struct bucket *bucket = &filter->buckets[__builtin_ctz(buckets)];
        for (const struct factor *factor = bucket->factors; factor < bucket->factors + bucket->count; factor++)
            if ((!whole || (here & factor->mask) == factor->value) && stands(factor, text, length, at - (ptrdiff_t)factor->anchor))
                return 1;
    }
    return 0;
}

#if defined(__x86_64__)
#include <immintrin.h>

enum { LOOKED_AT = 32 + PREFILTER_LOOK - 1 };

/* All places behind which PREFILTER_LOOK columns lie in a text of at least LOOKED_AT bytes; the first place not looked at. -1: something
   stands there, or may. `eighths` is a constant of each caller's, so that the loops over them are none. */
__attribute__((target("avx2"), always_inline)) static inline ptrdiff_t
looked_at(const struct prefilter *filter, const unsigned char *text, ptrdiff_t length, ptrdiff_t *patience, const int eighths)
{
    const __m256i nibble = _mm256_set1_epi8(15), none = _mm256_setzero_si256();
    __m256i low[PREFILTER_EIGHTS][PREFILTER_LOOK], high[PREFILTER_EIGHTS][PREFILTER_LOOK];
    for (int eight = 0; eight < eighths; eight++)
        for (int place = 0; place < PREFILTER_LOOK; place++) {
            low[eight][place] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)filter->low[eight][place]));
            high[eight][place] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)filter->high[eight][place]));
        }
    for (ptrdiff_t first = 0;; first += 32) {
        if (first + LOOKED_AT > length) { /* the last whole one, which overlaps with the one before */
            if (first > length - PREFILTER_LOOK)
                return length - PREFILTER_LOOK + 1;
            first = length - LOOKED_AT;
        }
        __m256i found[PREFILTER_EIGHTS], any = none;
        for (int eight = 0; eight < eighths; eight++)
            found[eight] = _mm256_set1_epi8(-1);
        for (int place = 0; place < PREFILTER_LOOK; place++) {
            const __m256i bytes = _mm256_loadu_si256((const __m256i *)(text + first + place));
            const __m256i lower = _mm256_and_si256(bytes, nibble), upper = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
            for (int eight = 0; eight < eighths; eight++) {
                const __m256i both = _mm256_and_si256(_mm256_shuffle_epi8(low[eight][place], lower), _mm256_shuffle_epi8(high[eight][place], upper));
                found[eight] = _mm256_and_si256(found[eight], both);
            }
        }
        for (int eight = 0; eight < eighths; eight++)
            any = _mm256_or_si256(any, found[eight]);
        uint32_t places = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(any, none));
        if (places == 0)
            continue;
        uint8_t buckets[PREFILTER_EIGHTS][32];
        for (int eight = 0; eight < eighths; eight++)
            _mm256_storeu_si256((__m256i *)buckets[eight], found[eight]);
        for (; places; places &= places - 1) {
            const int place = __builtin_ctz(places);
            uint32_t here = 0;
            for (int eight = 0; eight < eighths; eight++)
                here |= (uint32_t)buckets[eight][place] << 8 * eight;
            if (--*patience < 0 || any_stands(filter, here, text, length, first + place))
                return -1;
        }
    }
}

__attribute__((target("avx2"))) static ptrdiff_t by_avx2(const struct prefilter *filter, const unsigned char *text, ptrdiff_t length, ptrdiff_t *patience)
{
    return filter->eighths <= 1 ? looked_at(filter, text, length, patience, 1) : looked_at(filter, text, length, patience, PREFILTER_EIGHTS);
}
#endif

int prefilter_may_hold(const struct prefilter *filter, const unsigned char *text, size_t size)
{
    const ptrdiff_t length = (ptrdiff_t)size;
    /* Each place that looks like the beginning of a factor costs some comparisons: of a text full of such, the patterns tell sooner. */
    ptrdiff_t first = 0, patience = 32 + length / 8;
#if defined(__x86_64__)
    if (length >= LOOKED_AT && prefilter_works() && (first = by_avx2(filter, text, length, &patience)) < 0)
        return 1;
#endif
    for (; first < length; first++) {
        uint32_t buckets = 0;
        for (int eight = 0; eight < filter->eighths; eight++) {
            unsigned here = 255;
            for (ptrdiff_t place = 0; place < PREFILTER_LOOK; place++) {
                const ptrdiff_t at = first + place;
                here &= at >= length ? filter->behind[eight][place]
                                     : filter->low[eight][place][text[at] & 15] & filter->high[eight][place][text[at] >> 4];
            }
            buckets |= (uint32_t)here << 8 * eight;
        }
        if (buckets && (--patience < 0 || any_stands(filter, buckets, text, length, first)))
            return 1;
    }
    return 0;
}
