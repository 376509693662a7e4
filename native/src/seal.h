/* A payload as frames: sealed where it will lie, hashed and summed on the way. As `SessionKey.seal` and `framing.frame` of Gatebook's ledger. */
#ifndef GATEBOOK_SEAL_H
#define GATEBOOK_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "openssl.h"

enum { DATA_KEY_BYTES = 32, SALT_BYTES = 32, TAG_BYTES = 16, HASH_BYTES = 32, FRAME_BYTES = 9 };
enum { MOST_NAME = 64, MOST_PLACE = 36 + 2 * (1 + MOST_NAME), MOST_BOUND = 320 };
enum { LEAF_KIND = 1, PAYLOAD_KIND = 2 };

/* What one thread works with at a time. */
struct tools {
    EVP_MD_CTX *inner, *sealed;
    EVP_CIPHER_CTX *cipher; /* holds the data key */
};

struct data_key {
    unsigned char key[DATA_KEY_BYTES];
    unsigned char bound[MOST_BOUND]; /* what each payload is sealed for, up to its numbers */
    size_t bound_bytes;
    unsigned char place[MOST_PLACE]; /* what a stored body begins with, its numbers still 0 */
    size_t place_bytes;
    char name[MOST_NAME];
    size_t name_bytes;
    EVP_CIPHER_CTX *cipher;
};

struct body {
    const char *part;
    size_t part_bytes;
    const unsigned char *bytes;
    size_t count;
};

/* What an entry says of a payload (`Pay`): where its digits go, 2 * HASH_BYTES each. */
struct told {
    char *commitment, *digest;
};

static inline size_t sealed_bytes(const struct body *body)
{
    return 1 + body->part_bytes + SALT_BYTES + body->count + TAG_BYTES;
}

static inline size_t pieces_of(size_t sealed, size_t most)
{
    return sealed <= most ? 1 : (sealed + most - 1) / most;
}

static inline size_t piece_bytes(size_t sealed, size_t most, size_t piece)
{
    return piece + 1 < pieces_of(sealed, most) ? most : sealed - piece * most;
}

/* Payload `part` (from 0) of entry `sequence` into `frames`, pieces_of() buffers of FRAME_BYTES + place_bytes + piece_bytes() each. Needs no
   Python. 0: all was written. -1: OpenSSL refused something; what the buffers hold is of no use. */
int seal(const struct data_key *key, const struct tools *tools, const struct body *body, const unsigned char *salt, uint64_t sequence,
         uint32_t part, size_t most, unsigned char *const *frames, const struct told *told);

/* SHA-256 over two stretches; 0 or -1. */
int sha256_of(EVP_MD_CTX *context, const void *first, size_t first_bytes, const void *second, size_t second_bytes, unsigned char *hash);

/* The nine bytes before a body whose CRC, begun with frame_begun(), is `crc`. */
uint32_t frame_begun(uint32_t length, unsigned char kind);
void frame_header(unsigned char *header, uint32_t length, uint32_t crc, unsigned char kind);

void hex_of(const unsigned char *bytes, size_t count, char *digits);
size_t decimal_of(uint64_t number, char *digits);

#endif
