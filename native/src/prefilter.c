#include "prefilter.h"

#include <stdlib.h>
#include <string.h>

int prefilter_at_once(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw"))
        return 64;
    if (__builtin_cpu_supports("avx2"))
        return 32;
#endif
    return 0;
}

static int admits(const unsigned char *column, unsigned byte)
{
    return column[byte / 8] >> byte % 8 & 1;
}

static void find_common_bits(const struct factor *factor, uint64_t *masks, uint64_t *values)
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
    memcpy(masks, mask, sizeof mask);
    memcpy(values, value, sizeof value);
}

static size_t groups(const struct bucket *bucket)
{
    return (bucket->count + PREFILTER_TOGETHER - 1) / PREFILTER_TOGETHER;
}

static int take_memory(struct prefilter *filter)
{
    size_t every = 0;
    for (int which = 0; which < PREFILTER_BUCKETS; which++)
        every += groups(&filter->buckets[which]);
    filter->tables = aligned_alloc(64, sizeof *filter->tables + every * sizeof(struct signs));
    if (filter->tables == NULL)
        return -1;
    memset(filter->tables, 0, sizeof *filter->tables);
    struct signs *signs = filter->tables->signs;
    for (int which = 0; which < PREFILTER_BUCKETS; which++) {
        filter->buckets[which].signs = signs;
        signs += groups(&filter->buckets[which]);
    }
    for (struct signs *none = filter->tables->signs; none < signs; none++) {
        memset(none->mask, 0, sizeof none->mask);
        memset(none->value, 255, sizeof none->value); /* what nothing has, where there is no factor */
    }
    return 0;
}

int prefilter_prepare(struct prefilter *filter)
{
    if (take_memory(filter) < 0)
        return -1;
    for (int which = 0; which < PREFILTER_BUCKETS; which++) {
        const int eight = which / 8;
        const uint8_t bit = (uint8_t)(1u << which % 8);
        const struct bucket *bucket = &filter->buckets[which];
        if (bucket->count) {
            filter->eighths = eight + 1;
            filter->numbers |= 1u << which;
        }
        for (size_t number = 0; number < bucket->count; number++) {
            const struct factor *factor = &bucket->factors[number];
            if (factor->sieve != SIEVE_NUMBER)
                filter->numbers &= ~(1u << which);
            struct signs *signs = &bucket->signs[number / PREFILTER_TOGETHER];
            find_common_bits(factor, &signs->mask[number % PREFILTER_TOGETHER], &signs->value[number % PREFILTER_TOGETHER]);
            for (size_t place = 0; place < PREFILTER_LOOK; place++) {
                const int ended = factor->anchor + place >= factor->length;
                const unsigned char *column = factor->columns + (ended ? 0 : factor->anchor + place) * PREFILTER_COLUMN;
                uint8_t *admit = filter->tables->admit[eight][place];
                if (column[PREFILTER_COLUMN - 1] & COLUMN_END)
                    admit[PREFILTER_BEHIND] |= bit;
                for (unsigned byte = 0; byte < 256; byte++)
                    if (ended || admits(column, byte)) {
                        admit[byte] |= bit;
                        filter->low[eight][place][byte & 15] |= bit;
                        filter->high[eight][place][byte >> 4] |= bit;
                    }
            }
        }
    }
    return 0;
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

struct look {
    const struct prefilter *filter;
    const unsigned char *text;
    ptrdiff_t length, patience;
    ptrdiff_t past_no_number; /* where digits end that are nothing */
};

/* A bit for each factor that may have its anchor where these eight bytes stand. `within` has all bits of those that are in the text. */
typedef unsigned comparison(const struct signs *signs, uint64_t here, uint64_t within);

static unsigned alike(const struct signs *signs, uint64_t here, uint64_t within)
{
    unsigned found = 0;
    for (int number = 0; number < PREFILTER_TOGETHER; number++)
        found |= (unsigned)((here & signs->mask[number]) == (within & signs->value[number])) << number;
    return found;
}

/* Whether the digit at `at` belongs to nothing: then so does all that stands together with it, for whichever factor. Most ids end here. */
static int no_number_at(struct look *look, ptrdiff_t at)
{
    if (!is_digit(look->text[at]))
        return 0;
    if (at >= look->past_no_number)
        look->past_no_number = sieve_past_no_number(&look->filter->networks, look->text, look->length, at);
    return at < look->past_no_number;
}

/* Whether a factor of one of these buckets stands with its anchor at `at`, or patience is at its end. What a caller compares with is a constant,
   as is `eighths` below: so it is no call, and loops over those are none. */
__attribute__((always_inline)) static inline int any_stands(struct look *look, uint32_t buckets, ptrdiff_t at, comparison *compare)
{
    if (buckets & look->filter->numbers && no_number_at(look, at) && (buckets &= ~look->filter->numbers) == 0)
        return 0;
    if (--look->patience < 0)
        return 1;
    uint64_t here = 0, within = ~(uint64_t)0;
    if (look->length - at >= (ptrdiff_t)sizeof here) {
        memcpy(&here, look->text + at, sizeof here);
    } else {
        memcpy(&here, look->text + at, (size_t)(look->length - at));
        within = 0;
        memset(&within, 255, (size_t)(look->length - at));
    }
    for (; buckets; buckets &= buckets - 1) {
        const struct bucket *bucket = &look->filter->buckets[__builtin_ctz(buckets)];
        for (size_t group = 0; group < groups(bucket); group++)
            for (unsigned found = compare(&bucket->signs[group], here, within); found; found &= found - 1) {
                const struct factor *factor = &bucket->factors[group * PREFILTER_TOGETHER + (size_t)__builtin_ctz(found)];
                const ptrdiff_t first = at - (ptrdiff_t)factor->anchor;
                if (stands(factor, look->text, look->length, first)
                    && !sieve_rules_out(factor->sieve, &look->filter->networks, look->text, look->length, first, (ptrdiff_t)factor->length))
                    return 1;
            }
    }
    return 0;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Otherwise vectors of a loop over few of them are kept in memory, which takes twice the time. */
#define UNROLLED _Pragma("GCC unroll 8")

/* The same of each of these places, a bit for each from `first` on, whose buckets were found. At `others` there are some that are not of numbers. */
__attribute__((always_inline)) static inline int
any_stands_at(struct look *look, uint64_t places, uint64_t others, uint8_t found[][64], ptrdiff_t first, const int eighths, comparison *compare)
{
    while (places) {
        const int place = __builtin_ctzll(places);
        if (!(others >> place & 1) && no_number_at(look, first + place)) {
            const ptrdiff_t past = look->past_no_number - first;
            places &= others | (past < 64 ? ~(uint64_t)0 << past : 0);
            continue;
        }
        places &= places - 1;
        uint32_t buckets = 0;
        UNROLLED for (int eight = 0; eight < eighths; eight++)
            buckets |= (uint32_t)found[eight][place] << 8 * eight;
        if (any_stands(look, buckets, first + place, compare))
            return 1;
    }
    return 0;
}

enum { LOOKED_AT = 32 + PREFILTER_LOOK - 1 };

/* All places behind which PREFILTER_LOOK columns lie in a text of at least LOOKED_AT bytes; the first place not looked at. -1: something
   stands there, or may. */
__attribute__((target("avx2"), always_inline)) static inline ptrdiff_t looked_at_by_32(struct look *look, const int eighths)
{
    const struct prefilter *filter = look->filter;
    const __m256i nibble = _mm256_set1_epi8(15), none = _mm256_setzero_si256();
    __m256i low[PREFILTER_EIGHTS][PREFILTER_LOOK], high[PREFILTER_EIGHTS][PREFILTER_LOOK];
    UNROLLED for (int eight = 0; eight < eighths; eight++)
        UNROLLED for (int place = 0; place < PREFILTER_LOOK; place++) {
            low[eight][place] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)filter->low[eight][place]));
            high[eight][place] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)filter->high[eight][place]));
        }
    for (ptrdiff_t first = 0;; first += 32) {
        if (first + LOOKED_AT > look->length) { /* the last whole one, which overlaps with the one before */
            if (first > look->length - PREFILTER_LOOK)
                return look->length - PREFILTER_LOOK + 1;
            first = look->length - LOOKED_AT;
        }
        __m256i found[PREFILTER_EIGHTS], any = none;
        UNROLLED for (int eight = 0; eight < eighths; eight++)
            found[eight] = _mm256_set1_epi8(-1);
        UNROLLED for (int place = 0; place < PREFILTER_LOOK; place++) {
            const __m256i bytes = _mm256_loadu_si256((const __m256i *)(look->text + first + place));
            const __m256i lower = _mm256_and_si256(bytes, nibble), upper = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
            UNROLLED for (int eight = 0; eight < eighths; eight++) {
                const __m256i both = _mm256_and_si256(_mm256_shuffle_epi8(low[eight][place], lower), _mm256_shuffle_epi8(high[eight][place], upper));
                found[eight] = _mm256_and_si256(found[eight], both);
            }
        }
        UNROLLED for (int eight = 0; eight < eighths; eight++)
            any = _mm256_or_si256(any, found[eight]);
        const uint32_t places = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(any, none));
        if (places == 0)
            continue;
        uint8_t buckets[PREFILTER_EIGHTS][64];
        UNROLLED for (int eight = 0; eight < eighths; eight++)
            _mm256_storeu_si256((__m256i *)buckets[eight], found[eight]);
        __m256i not_numbers = none;
        UNROLLED for (int eight = 0; eight < eighths; eight++)
            not_numbers = _mm256_or_si256(not_numbers, _mm256_andnot_si256(_mm256_set1_epi8((char)(filter->numbers >> 8 * eight)), found[eight]));
        const uint32_t others = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(not_numbers, none));
        if (any_stands_at(look, places, others, buckets, first, eighths, alike))
            return -1;
    }
}

__attribute__((target("avx2"))) static ptrdiff_t by_32(struct look *look)
{
    return look->filter->eighths <= 1 ? looked_at_by_32(look, 1) : looked_at_by_32(look, PREFILTER_EIGHTS);
}

#define AVX512 "avx512f,avx512bw,avx512vbmi"

__attribute__((target(AVX512))) static inline unsigned all_alike(const struct signs *signs, uint64_t here, uint64_t within)
{
    const __m512i common = _mm512_and_si512(_mm512_set1_epi64((long long)here), _mm512_loadu_si512(signs->mask));
    return _mm512_cmpeq_epi64_mask(common, _mm512_and_si512(_mm512_set1_epi64((long long)within), _mm512_loadu_si512(signs->value)));
}

/* What `admit` says of each byte. */
__attribute__((target(AVX512), always_inline)) static inline __m512i looked_up(const uint8_t *admit, __m512i bytes, const int ascii)
{
    const __m512i lower = _mm512_permutex2var_epi8(_mm512_loadu_si512(admit), bytes, _mm512_loadu_si512(admit + 64));
    if (ascii)
        return lower;
    const __m512i upper = _mm512_permutex2var_epi8(_mm512_loadu_si512(admit + 128), bytes, _mm512_loadu_si512(admit + 192));
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), lower, upper);
}

__attribute__((target(AVX512), always_inline)) static inline void
find(__m512i *found, const struct tables *tables, const __m512i *bytes, const int eighths, const int ascii)
{
    UNROLLED for (int eight = 0; eight < eighths; eight++)
        found[eight] = _mm512_set1_epi8(-1);
    UNROLLED for (int place = 0; place < PREFILTER_LOOK; place++)
        UNROLLED for (int eight = 0; eight < eighths; eight++)
            found[eight] = _mm512_and_si512(found[eight], looked_up(tables->admit[eight][place], bytes[place], ascii));
}

/* Whether something stands in the text, or may. */
__attribute__((target(AVX512), always_inline)) static inline int found_by_64(struct look *look, const int eighths)
{
    for (ptrdiff_t first = 0; first < look->length; first += 64) {
        const unsigned char *text = look->text + first;
        const ptrdiff_t left = look->length - first;
        unsigned char end[64 + PREFILTER_LOOK - 1];
        if (left < (ptrdiff_t)sizeof end) {
            memset(end, PREFILTER_BEHIND, sizeof end);
            text = memcpy(end, text, (size_t)left);
        }
        __m512i bytes[PREFILTER_LOOK], found[PREFILTER_EIGHTS], any = _mm512_setzero_si512();
        UNROLLED for (int place = 0; place < PREFILTER_LOOK; place++)
            bytes[place] = _mm512_loadu_si512(text + place);
        const int ascii = _mm512_movepi8_mask(_mm512_or_si512(bytes[0], bytes[PREFILTER_LOOK - 1])) == 0;
        if (ascii)
            find(found, look->filter->tables, bytes, eighths, 1);
        else
            find(found, look->filter->tables, bytes, eighths, 0);
        UNROLLED for (int eight = 0; eight < eighths; eight++)
            any = _mm512_or_si512(any, found[eight]);
        const uint64_t within = left < 64 ? ((uint64_t)1 << left) - 1 : ~(uint64_t)0;
        const uint64_t places = _mm512_test_epi8_mask(any, any) & within;
        if (places == 0)
            continue;
        uint8_t buckets[PREFILTER_EIGHTS][64];
        UNROLLED for (int eight = 0; eight < eighths; eight++)
            _mm512_storeu_si512(buckets[eight], found[eight]);
        __m512i not_numbers = _mm512_setzero_si512();
        UNROLLED for (int eight = 0; eight < eighths; eight++)
            not_numbers = _mm512_or_si512(not_numbers, _mm512_andnot_si512(_mm512_set1_epi8((char)(look->filter->numbers >> 8 * eight)), found[eight]));
        const uint64_t others = _mm512_test_epi8_mask(not_numbers, not_numbers);
        if (any_stands_at(look, places, others, buckets, first, eighths, all_alike))
            return 1;
    }
    return 0;
}

__attribute__((target(AVX512))) static int by_64(struct look *look)
{
    return look->filter->eighths <= 1 ? found_by_64(look, 1) : found_by_64(look, PREFILTER_EIGHTS);
}
#endif

int prefilter_may_hold(const struct prefilter *filter, const unsigned char *text, size_t size)
{
    const ptrdiff_t length = (ptrdiff_t)size;
    /* Each place that looks like the beginning of a factor costs some comparisons: of a text full of such, the patterns tell sooner. */
    struct look look = {.filter = filter, .text = text, .length = length, .patience = 32 + length / 8};
    ptrdiff_t first = 0;
#if defined(__x86_64__)
    if (filter->at_once >= 64)
        return by_64(&look);
    if (filter->at_once >= 32 && length >= LOOKED_AT && (first = by_32(&look)) < 0)
        return 1;
#endif
    for (; first < length; first++) {
        uint32_t buckets = 0;
        for (int eight = 0; eight < filter->eighths; eight++) {
            unsigned here = 255;
            for (ptrdiff_t place = 0; place < PREFILTER_LOOK; place++)
                here &= filter->tables->admit[eight][place][first + place < length ? text[first + place] : PREFILTER_BEHIND];
            buckets |= (uint32_t)here << 8 * eight;
        }
        if (buckets && any_stands(&look, buckets, first, alike))
            return 1;
    }
    return 0;
}
