#include "crc32c.h"

#include <string.h>

static uint32_t table[8][256];
static int by_instruction;

void crc32c_prepare(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
        table[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int step = 1; step < 8; step++)
            table[step][byte] = table[step - 1][byte] >> 8 ^ table[0][table[step - 1][byte] & 0xFF];
#if defined(__x86_64__)
    by_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    crc = ~crc;
    for (; count >= 8; at += 8, count -= 8) {
        uint32_t low = (at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24) ^ crc;
        crc = table[7][low & 0xFF] ^ table[6][low >> 8 & 0xFF] ^ table[5][low >> 16 & 0xFF] ^ table[4][low >> 24]
            ^ table[3][at[4]] ^ table[2][at[5]] ^ table[1][at[6]] ^ table[0][at[7]];
    }
    while (count-- > 0)
        crc = crc >> 8 ^ table[0][(crc ^ *at++) & 0xFF];
    return ~crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t by_sse42(uint32_t crc, const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    uint64_t state = ~crc;
    for (; count >= 8; at += 8, count -= 8) {
        uint64_t eight;
        memcpy(&eight, at, 8);
        state = _mm_crc32_u64(state, eight);
    }
    uint32_t rest = (uint32_t)state;
    while (count-- > 0)
        rest = _mm_crc32_u8(rest, *at++);
    return ~rest;
}
#endif

uint32_t crc32c_extend(uint32_t crc, const void *bytes, size_t count)
{
#if defined(__x86_64__)
    if (by_instruction)
        return by_sse42(crc, bytes, count);
#endif
    return crc32c_by_table(crc, bytes, count);
}
