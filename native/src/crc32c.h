/* CRC-32C (Castagnoli), as in RFC 3720 appendix B.4. */
#ifndef GATEBOOK_CRC32C_H
#define GATEBOOK_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Once, before the first crc32c_extend. */
void crc32c_prepare(void);

/* The CRC of bytes whose CRC is `crc` (0 for none) and these after them. */
uint32_t crc32c_extend(uint32_t crc, const void *bytes, size_t count);

/* The same without the processor's instruction: for tests on a machine that has it. */
uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t count);

#endif
