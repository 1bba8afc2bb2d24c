/*
 * A growable byte buffer with a maximum, and a reader that cannot run past its end. Both have a sticky
 * error, so that an encoder or decoder is a straight list of fields with one check at its end.
 * Integers are little-endian.
 */
#ifndef ASSENT_BUF_H
#define ASSENT_BUF_H

#include "assent/base.h"

struct as_buf {
    uint8_t *data; /* owned */
    size_t len;
    size_t cap;
    size_t max; /* len never passes it */
    as_err err; /* sticky: NOMEM or TOOBIG; puts after it do nothing */
};

void as_buf_init(struct as_buf *buf, size_t max);
void as_buf_close(struct as_buf *buf); /* takes NULL and a zeroed struct */
void as_buf_clear(struct as_buf *buf); /* empty, no error; keeps the memory */

void as_put_bytes(struct as_buf *buf, const void *data, size_t len);
void as_put_u8(struct as_buf *buf, uint8_t value);
void as_put_u16(struct as_buf *buf, uint16_t value);
void as_put_u32(struct as_buf *buf, uint32_t value);
void as_put_u64(struct as_buf *buf, uint64_t value);
void as_put_i64(struct as_buf *buf, int64_t value);
/* u8/u16/u32 length, then the bytes. A length that does not fit sets TOOBIG. */
void as_put_text8(struct as_buf *buf, const char *text, size_t len);
void as_put_text16(struct as_buf *buf, const char *text, size_t len);
void as_put_bytes32(struct as_buf *buf, struct as_bytes bytes);
/* Room for `len` bytes to be filled in by the caller; NULL on error (sticky). */
uint8_t *as_buf_extend(struct as_buf *buf, size_t len);
/* Drops the first `len` bytes. */
void as_buf_consume(struct as_buf *buf, size_t len);

static inline struct as_bytes as_buf_bytes(const struct as_buf *buf)
{
    return (struct as_bytes){buf->data, buf->len};
}

struct as_reader {
    const uint8_t *at;
    size_t left;
    bool bad; /* sticky: a read went past the end or met a bad value; later reads give zeros */
};

static inline struct as_reader as_reader_of(struct as_bytes bytes)
{
    return (struct as_reader){bytes.data, bytes.len, false};
}

uint8_t as_read_u8(struct as_reader *in);
uint16_t as_read_u16(struct as_reader *in);
uint32_t as_read_u32(struct as_reader *in);
uint64_t as_read_u64(struct as_reader *in);
int64_t as_read_i64(struct as_reader *in);
struct as_bytes as_read_bytes(struct as_reader *in, size_t len);
struct as_bytes as_read_text8(struct as_reader *in);
struct as_bytes as_read_text16(struct as_reader *in);
struct as_bytes as_read_bytes32(struct as_reader *in);
/* Copies a text8 into a NUL-terminated array of `size`; longer, or with a NUL inside: bad. */
void as_read_string8(struct as_reader *in, char *ret_text, size_t size);
/* True when everything was read and nothing was bad. */
bool as_reader_done(const struct as_reader *in);

#endif
