/* What the sealer needs of an entry at once, out of a leaf that is canonical JSON of plain ASCII, as `leaf_write` and Gatebook's `entry.compose`
   write it. Nothing is made of any other leaf, sound or not: Python reads those. */
#ifndef GATEBOOK_GIST_H
#define GATEBOOK_GIST_H

#include <stddef.h>
#include <stdint.h>

struct stretch {
    const char *at; /* NULL: the member is not there */
    size_t count;
};

struct gist {
    struct stretch call, event, session, time, epoch, writer;
    int64_t sequence, findings; /* findings: the sum of all counts */
};

/* 1 where the whole of `leaf` is one such entry. 0: unusual. Reads nothing beyond `count` bytes. */
int gist_of(const char *leaf, size_t count, struct gist *found);

#endif
