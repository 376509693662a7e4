#include "seal.h"

#include <string.h>

#include "crc32c.h"

enum { BLOCK_BYTES = 64, NONCE_BYTES = 12, PLACE_NUMBERS_AT = 16 };
/* So much is copied, hashed, sealed and summed at a time: it stays in the processor's nearest cache. */
enum { AT_A_TIME = 16 << 10 };

static void put_le(unsigned char *at, uint64_t value, int count)
{
    for (int byte = 0; byte < count; byte++)
        at[byte] = (unsigned char)(value >> 8 * byte);
}

static void put_be(unsigned char *at, uint64_t value, int count)
{
    for (int byte = 0; byte < count; byte++)
        at[byte] = (unsigned char)(value >> 8 * (count - 1 - byte));
}

void hex_of(const unsigned char *bytes, size_t count, char *digits)
{
    static const char HEX[] = "0123456789abcdef";
    for (size_t each = 0; each < count; each++) {
        digits[2 * each] = HEX[bytes[each] >> 4];
        digits[2 * each + 1] = HEX[bytes[each] & 15];
    }
}

size_t decimal_of(uint64_t number, char *digits)
{
    char reversed[20];
    size_t count = 0;
    do {
        reversed[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    for (size_t each = 0; each < count; each++)
        digits[each] = reversed[count - 1 - each];
    return count;
}

uint32_t frame_begun(uint32_t length, unsigned char kind)
{
    unsigned char start[5];
    put_le(start, length, 4);
    start[4] = kind;
    return crc32c_extend(0, start, sizeof start);
}

void frame_header(unsigned char *header, uint32_t length, uint32_t crc, unsigned char kind)
{
    put_le(header, length, 4);
    put_le(header + 4, crc, 4);
    header[8] = kind;
}

static int begin_hash(EVP_MD_CTX *context)
{
    return ossl.EVP_DigestInit_ex2(context, ossl.sha256, NULL) == 1 ? 0 : -1;
}

static int add_to_hash(EVP_MD_CTX *context, const void *bytes, size_t count)
{
    return count == 0 || ossl.EVP_DigestUpdate(context, bytes, count) == 1 ? 0 : -1;
}

static int end_hash(EVP_MD_CTX *context, unsigned char *hash)
{
    unsigned int count = 0;
    return ossl.EVP_DigestFinal_ex(context, hash, &count) == 1 && count == HASH_BYTES ? 0 : -1;
}

int sha256_of(EVP_MD_CTX *context, const void *first, size_t first_bytes, const void *second, size_t second_bytes, unsigned char *hash)
{
    if (begin_hash(context) || add_to_hash(context, first, first_bytes) || add_to_hash(context, second, second_bytes))
        return -1;
    return end_hash(context, hash);
}

/* HMAC-SHA-256 keyed with the salt, RFC 2104 §2: `mask` is its ipad or opad. */
static void padded(const unsigned char *salt, unsigned char mask, unsigned char *block)
{
    memset(block, mask, BLOCK_BYTES);
    for (int byte = 0; byte < SALT_BYTES; byte++)
        block[byte] ^= salt[byte];
}

static int begin_sealing(const struct data_key *key, EVP_CIPHER_CTX *cipher, uint64_t sequence, uint32_t part)
{
    unsigned char nonce[NONCE_BYTES], bound[MOST_BOUND];
    put_be(nonce, sequence, 8);
    put_be(nonce + 8, part, 4);
    size_t count = key->bound_bytes;
    memcpy(bound, key->bound, count);
    bound[count++] = 0;
    count += decimal_of(sequence, (char *)bound + count);
    bound[count++] = 0;
    count += decimal_of(part, (char *)bound + count);
    int taken = 0;
    if (ossl.EVP_EncryptInit_ex2(cipher, NULL, NULL, nonce, NULL) != 1)
        return -1;
    if (ossl.EVP_EncryptUpdate(cipher, NULL, &taken, bound, (int)count) != 1 || taken != (int)count)
        return -1;
    return 0;
}

/* Where the next sealed bytes go: the content of one piece after the other. */
struct pieces {
    const struct data_key *key;
    unsigned char *const *frames;
    uint64_t sequence;
    uint32_t part;
    size_t sealed, most;
    size_t piece, used; /* the piece under way, and how much content it has */
    uint32_t crc;
};

static uint32_t body_bytes(const struct pieces *to)
{
    return (uint32_t)(to->key->place_bytes + piece_bytes(to->sealed, to->most, to->piece));
}

static void begin_piece(struct pieces *to)
{
    unsigned char *place = to->frames[to->piece] + FRAME_BYTES;
    memcpy(place, to->key->place, to->key->place_bytes);
    put_le(place + PLACE_NUMBERS_AT, to->sequence, 8);
    put_le(place + PLACE_NUMBERS_AT + 8, to->part, 4);
    put_le(place + PLACE_NUMBERS_AT + 12, to->piece, 4);
    put_le(place + PLACE_NUMBERS_AT + 16, pieces_of(to->sealed, to->most), 4);
    to->crc = crc32c_extend(frame_begun(body_bytes(to), PAYLOAD_KIND), place, to->key->place_bytes);
    to->used = 0;
}

/* Where up to `*count` bytes may be written; `*count` becomes what there is room for. */
static unsigned char *room(struct pieces *to, size_t *count)
{
    size_t left = piece_bytes(to->sealed, to->most, to->piece) - to->used;
    if (left == 0) {
        to->piece++;
        begin_piece(to);
        left = piece_bytes(to->sealed, to->most, to->piece);
    }
    if (*count > left)
        *count = left;
    return to->frames[to->piece] + FRAME_BYTES + to->key->place_bytes + to->used;
}

/* `count` bytes were written where room() said. */
static void written(struct pieces *to, const unsigned char *bytes, size_t count)
{
    to->crc = crc32c_extend(to->crc, bytes, count);
    to->used += count;
    if (to->used == piece_bytes(to->sealed, to->most, to->piece))
        frame_header(to->frames[to->piece], body_bytes(to), to->crc, PAYLOAD_KIND);
}

int seal(const struct data_key *key, const struct tools *tools, const struct body *body, const unsigned char *salt, uint64_t sequence,
         uint32_t part, size_t most, unsigned char *const *frames, const struct told *told)
{
    unsigned char block[BLOCK_BYTES], hash[HASH_BYTES], tag[TAG_BYTES];
    unsigned char head[1 + MOST_NAME + SALT_BYTES];
    size_t head_bytes = 1 + body->part_bytes + SALT_BYTES, whole = head_bytes + body->count;
    head[0] = (unsigned char)body->part_bytes;
    memcpy(head + 1, body->part, body->part_bytes);
    memcpy(head + 1 + body->part_bytes, salt, SALT_BYTES);

    padded(salt, 0x36, block);
    if (begin_hash(tools->inner) || add_to_hash(tools->inner, block, BLOCK_BYTES) || begin_hash(tools->sealed))
        return -1;
    if (begin_sealing(key, tools->cipher, sequence, part))
        return -1;
    struct pieces to = {
        .key = key, .frames = frames, .sequence = sequence, .part = part, .sealed = sealed_bytes(body), .most = most,
    };
    begin_piece(&to);
    int taken = 0;
    for (size_t done = 0; done < whole;) {
        size_t count = whole - done < AT_A_TIME ? whole - done : AT_A_TIME;
        unsigned char *out = room(&to, &count);
        size_t of_head = done >= head_bytes ? 0 : head_bytes - done < count ? head_bytes - done : count;
        size_t of_body = count - of_head;
        if (of_head > 0)
            memcpy(out, head + done, of_head);
        if (of_body > 0) {
            const unsigned char *from = body->bytes + (done + of_head - head_bytes);
            if (add_to_hash(tools->inner, from, of_body))
                return -1;
            memcpy(out + of_head, from, of_body);
        }
        /* In place: what lay there in clear for a moment is in nobody's hands yet. */
        if (ossl.EVP_EncryptUpdate(tools->cipher, out, &taken, out, (int)count) != 1 || taken != (int)count)
            return -1;
        if (add_to_hash(tools->sealed, out, count))
            return -1;
        written(&to, out, count);
        done += count;
    }
    unsigned char after[TAG_BYTES];
    if (ossl.EVP_EncryptFinal_ex(tools->cipher, after, &taken) != 1 || taken != 0)
        return -1;
    if (ossl.EVP_CIPHER_CTX_ctrl(tools->cipher, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag) != 1)
        return -1;
    for (size_t done = 0; done < TAG_BYTES;) {
        size_t count = TAG_BYTES - done;
        unsigned char *out = room(&to, &count);
        memcpy(out, tag + done, count);
        written(&to, out, count);
        done += count;
    }
    if (add_to_hash(tools->sealed, tag, TAG_BYTES) || end_hash(tools->sealed, hash))
        return -1;
    hex_of(hash, HASH_BYTES, told->digest);
    if (end_hash(tools->inner, hash))
        return -1;
    padded(salt, 0x5C, block);
    if (sha256_of(tools->inner, block, BLOCK_BYTES, hash, HASH_BYTES, hash))
        return -1;
    hex_of(hash, HASH_BYTES, told->commitment);
    return 0;
}
