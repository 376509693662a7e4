/* What stands where a factor does, and is nothing all the same: src/gatebook/masking/sieves.py. */
#ifndef GATEBOOK_SIEVES_H
#define GATEBOOK_SIEVES_H

#include <stddef.h>
#include <stdint.h>

/* The numbers are those of the Python side. */
enum sieve { SIEVE_NONE, SIEVE_NUMBER, SIEVE_EXPONENT, SIEVE_ELEMENT, SIEVES };

/* Card numbers of `length` digits, by the first six of them, both ends included. */
struct issued {
    uint32_t length, low, high;
};
/* All that count without words beside them. None at all: any of 14 to 19 digits may. */
struct networks {
    const struct issued *issued;
    size_t count;
};

/* Whether what stands in the `columns` bytes from `first` on (-1: before the text) is surely nothing. Looks at some hundred bytes at the most. */
int sieve_rules_out(enum sieve sieve, const struct networks *networks, const unsigned char *text, ptrdiff_t length, ptrdiff_t first, ptrdiff_t columns);
/* The same by SIEVE_NUMBER for whatever holds the digit at `place`: where all digits end that stand together with it, or 0. */
ptrdiff_t sieve_past_no_number(const struct networks *networks, const unsigned char *text, ptrdiff_t length, ptrdiff_t place);

static inline int is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

#endif
