/* Whether any of some short sequences of byte classes occurs in a text: src/gatebook/masking/prefilter.py. */
#ifndef GATEBOOK_PREFILTER_H
#define GATEBOOK_PREFILTER_H

#include <stddef.h>
#include <stdint.h>

#include "sieves.h"

enum {
    PREFILTER_BUCKETS = 32,
    PREFILTER_EIGHTS = PREFILTER_BUCKETS / 8, /* buckets whose bits share a byte */
    PREFILTER_LOOK = 4,                       /* columns from the anchor on that are looked at for all factors at once */
    PREFILTER_COLUMN = 33,                    /* bytes of a column: a bit for each byte, and a last one of COLUMN_START and COLUMN_END */
    PREFILTER_LONGEST = 16,
    PREFILTER_TOGETHER = 8, /* factors whose signs are compared at once */
    PREFILTER_BEHIND = 127, /* stands for what follows a text; a DEL, which hardly a text holds, may be that, too */
};
#define COLUMN_START 1u
#define COLUMN_END 2u

struct factor {
    const unsigned char *columns;
    size_t length;
    size_t anchor;     /* the column at which it is looked for */
    enum sieve sieve;  /* what may say that it is nothing */
};

/* Of some factors, and of the eight bytes from each one's anchor on: those bits that all which it admits have in common, and what they are. */
struct signs {
    uint64_t mask[PREFILTER_TOGETHER], value[PREFILTER_TOGETHER];
};

struct bucket {
    struct factor *factors;
    size_t count;
    struct signs *signs; /* of the first few factors, of the next */
};

/* It begins with a line of the cache, as each vector in it does: otherwise each would be read from two. */
struct tables {
    /* By a byte, or PREFILTER_BEHIND: a bit for each bucket of the eight that has a factor which admits it in this column, or ended before. */
    _Alignas(64) uint8_t admit[PREFILTER_EIGHTS][PREFILTER_LOOK][256];
    struct signs signs[];
};

struct prefilter {
    struct bucket buckets[PREFILTER_BUCKETS];
    struct networks networks;
    int at_once; /* bytes: what prefilter_at_once says, or fewer */
    int eighths; /* that hold any */
    uint32_t numbers; /* a bit for each bucket all of whose factors have SIEVE_NUMBER */
    struct tables *tables;
    /* As `admit`, by the lower and by the upper half of a byte: more bytes are admitted by both. */
    uint8_t low[PREFILTER_EIGHTS][PREFILTER_LOOK][16], high[PREFILTER_EIGHTS][PREFILTER_LOOK][16];
};

/* How many bytes this machine can look at at once: 64, 32, or 0, and then this is no faster than what it saves. */
int prefilter_at_once(void);
/* Everything that follows from the buckets, whose factors have columns, length and anchor. An anchor has a column that admits a byte.
   -1: there is no memory. `tables` is freed by whoever owns the filter. */
int prefilter_prepare(struct prefilter *filter);
/* 0: no factor occurs in the text, but where its sieve rules it out. 1: one does, or so many places look like one that telling would take long. */
int prefilter_may_hold(const struct prefilter *filter, const unsigned char *text, size_t length);

#endif
