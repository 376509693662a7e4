/* Whether any of some short sequences of byte classes occurs in a text: src/gatebook/masking/prefilter.py. */
#ifndef GATEBOOK_PREFILTER_H
#define GATEBOOK_PREFILTER_H

#include <stddef.h>
#include <stdint.h>

enum {
    PREFILTER_BUCKETS = 32,
    PREFILTER_EIGHTS = PREFILTER_BUCKETS / 8, /* buckets whose bits share a byte */
    PREFILTER_LOOK = 4,                       /* columns from the anchor on that are looked at for all factors at once */
    PREFILTER_COLUMN = 33,                    /* bytes of a column: a bit for each byte, and a last one of COLUMN_START and COLUMN_END */
    PREFILTER_LONGEST = 16,
};
#define COLUMN_START 1u
#define COLUMN_END 2u

struct factor {
    const unsigned char *columns;
    size_t length;
    size_t anchor; /* the column at which it is looked for */
    /* Of the eight bytes from there on: those bits that all which it admits have in common, and what they are. */
    uint64_t mask, value;
};

struct bucket {
    struct factor *factors;
    size_t count;
};

struct prefilter {
    struct bucket buckets[PREFILTER_BUCKETS];
    int eighths; /* that hold any */
    /* By the lower and the upper half of a byte: a bit for each bucket of the eight that has a factor which admits such a one there. */
    uint8_t low[PREFILTER_EIGHTS][PREFILTER_LOOK][16], high[PREFILTER_EIGHTS][PREFILTER_LOOK][16];
    /* The same for a place behind the text: those that have a factor which ended before it, or ends with the text. */
    uint8_t behind[PREFILTER_EIGHTS][PREFILTER_LOOK];
};

/* Whether this machine can look at many bytes at once; otherwise this is no faster than what it saves. */
int prefilter_works(void);
/* Everything that follows from the buckets, whose factors have columns, length and anchor. An anchor has a column that admits a byte. */
void prefilter_prepare(struct prefilter *filter);
/* 0: no factor occurs in the text. 1: one does, or so many places look like one that telling would take long. */
int prefilter_may_hold(const struct prefilter *filter, const unsigned char *text, size_t length);

#endif
