/* What a frame is made of: checksums, integers of either byte order, and msgpack. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint32_t crc_table[256];

static void
fill_crc_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? 0xEDB88320u ^ (crc >> 1) : crc >> 1;
        crc_table[byte] = crc;
    }
}

/* zlib's crc32; its table of one byte, not of eight: after a training step none of it is in the cache. */
static uint32_t
crc32_of(uint32_t crc, const uint8_t *data, size_t size)
{
    crc = ~crc;
    while (size--)
        crc = crc_table[(crc ^ *data++) & 0xFF] ^ (crc >> 8);
    return ~crc;
}

static uint8_t *
put_little(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *out++ = (uint8_t)(value >> (8 * i));
    return out;
}

static uint8_t *
put_big(uint8_t *out, uint64_t value, int bytes)
{
    while (bytes--)
        *out++ = (uint8_t)(value >> (8 * bytes));
    return out;
}

static uint8_t *
put_tagged(uint8_t *out, uint8_t tag, long long value, int bytes)
{
    *out++ = tag;
    return put_big(out, (uint64_t)value, bytes);
}

/* An integer as msgpack writes it: as short as possible. */
static uint8_t *
put_integer(uint8_t *out, long long value)
{
    if (value >= -32 && value <= INT8_MAX)
        return put_big(out, (uint64_t)value, 1);
    if (value >= 0) {
        if (value <= UINT8_MAX)
            return put_tagged(out, 0xCC, value, 1);
        if (value <= UINT16_MAX)
            return put_tagged(out, 0xCD, value, 2);
        if (value <= UINT32_MAX)
            return put_tagged(out, 0xCE, value, 4);
        return put_tagged(out, 0xCF, value, 8);
    }
    if (value >= INT8_MIN)
        return put_tagged(out, 0xD0, value, 1);
    if (value >= INT16_MIN)
        return put_tagged(out, 0xD1, value, 2);
    if (value >= INT32_MIN)
        return put_tagged(out, 0xD2, value, 4);
    return put_tagged(out, 0xD3, value, 8);
}

/* A text of at most 255 bytes. */
static uint8_t *
put_text(uint8_t *out, const char *text, size_t size)
{
    if (size < 32)
        *out++ = (uint8_t)(0xA0 | size);
    else
        out = put_tagged(out, 0xD9, (long long)size, 1);
    memcpy(out, text, size);
    return out + size;
}

static uint8_t *
put_double(uint8_t *out, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    *out++ = 0xCB;
    return put_big(out, bits, 8);
}
