/*
 * Byte buffer and reader. Fault model: an allocation may fail (sticky NOMEM), a writer may want too
 * much (sticky TOOBIG), and what is read may be any bytes at all: no length is believed before it
 * is compared with what is left.
 */
#include "assent/buf.h"

#include <string.h>

#include "assent/alloc.h"

#define BUF_CAP_MIN 256

/* Written out, so that compilers make one load or store of it. */

static uint32_t load_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void store_u32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
}

void as_buf_init(struct as_buf *buf, size_t max)
{
    *buf = (struct as_buf){.max = max};
}

void as_buf_close(struct as_buf *buf)
{
    if (!buf)
        return;
    as_free(buf->data);
    *buf = (struct as_buf){.max = buf->max};
}

void as_buf_clear(struct as_buf *buf)
{
    buf->len = 0;
    buf->err = AS_OK;
}

/* Makes cap at least `need`, which is at most max. */
static bool buf_grow(struct as_buf *buf, size_t need)
{
    size_t cap = buf->cap < BUF_CAP_MIN ? BUF_CAP_MIN : buf->cap;
    uint8_t *data;

    while (cap < need)
        cap = cap > buf->max / 2 ? buf->max : cap * 2;
    if (cap > buf->max)
        cap = buf->max;
    data = as_resize(buf->data, cap);
    if (!data) {
        buf->err = AS_ERR_NOMEM;
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

/* What the fast way below has no room for: the first bytes, more memory, or an error. */
static uint8_t *extend_slowly(struct as_buf *buf, size_t len)
{
    static uint8_t nothing; /* where zero bytes of an empty buffer may be written */

    if (buf->err)
        return NULL;
    if (len > buf->max - buf->len) {
        buf->err = AS_ERR_TOOBIG;
        return NULL;
    }
    if (len > buf->cap - buf->len && !buf_grow(buf, buf->len + len))
        return NULL;
    if (!buf->data)
        return &nothing;
    buf->len += len;
    return buf->data + buf->len - len;
}

/* In place, in each put: nearly all find room. */
static inline uint8_t *extend(struct as_buf *buf, size_t len)
{
    if (buf->err || !buf->data || len > buf->cap - buf->len)
        return extend_slowly(buf, len);
    buf->len += len;
    return buf->data + buf->len - len;
}

uint8_t *as_buf_extend(struct as_buf *buf, size_t len)
{
    return extend(buf, len);
}

void as_put_bytes(struct as_buf *buf, const void *data, size_t len)
{
    uint8_t *at = extend(buf, len);

    if (at && len > 0)
        memcpy(at, data, len);
}

void as_put_u8(struct as_buf *buf, uint8_t value)
{
    uint8_t *at = extend(buf, 1);

    if (at)
        *at = value;
}

void as_put_u16(struct as_buf *buf, uint16_t value)
{
    uint8_t *at = extend(buf, 2);

    if (!at)
        return;
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

void as_put_u32(struct as_buf *buf, uint32_t value)
{
    uint8_t *at = extend(buf, 4);

    if (at)
        store_u32(at, value);
}

void as_put_u64(struct as_buf *buf, uint64_t value)
{
    uint8_t *at = extend(buf, 8);

    if (!at)
        return;
    store_u32(at, (uint32_t)value);
    store_u32(at + 4, (uint32_t)(value >> 32));
}

void as_put_i64(struct as_buf *buf, int64_t value)
{
    as_put_u64(buf, (uint64_t)value);
}

/* False and TOOBIG if `len` passes what its length field can say. */
static bool length_fits(struct as_buf *buf, size_t len, size_t max)
{
    if (len <= max)
        return true;
    if (!buf->err)
        buf->err = AS_ERR_TOOBIG;
    return false;
}

void as_put_text8(struct as_buf *buf, const char *text, size_t len)
{
    if (!length_fits(buf, len, UINT8_MAX))
        return;
    as_put_u8(buf, (uint8_t)len);
    as_put_bytes(buf, text, len);
}

void as_put_text16(struct as_buf *buf, const char *text, size_t len)
{
    if (!length_fits(buf, len, UINT16_MAX))
        return;
    as_put_u16(buf, (uint16_t)len);
    as_put_bytes(buf, text, len);
}

void as_put_bytes32(struct as_buf *buf, struct as_bytes bytes)
{
    if (!length_fits(buf, bytes.len, UINT32_MAX))
        return;
    as_put_u32(buf, (uint32_t)bytes.len);
    as_put_bytes(buf, bytes.data, bytes.len);
}

void as_buf_consume(struct as_buf *buf, size_t len)
{
    AS_ASSERT(len <= buf->len);
    if (len == 0)
        return;
    memmove(buf->data, buf->data + len, buf->len - len);
    buf->len -= len;
}

struct as_bytes as_read_bytes(struct as_reader *in, size_t len)
{
    struct as_bytes bytes = {in->at, len};

    if (in->bad || len > in->left) {
        in->bad = true;
        in->left = 0;
        return (struct as_bytes){NULL, 0};
    }
    if (len > 0) { /* NULL + 0 is undefined in C */
        in->at += len;
        in->left -= len;
    }
    return bytes;
}

uint8_t as_read_u8(struct as_reader *in)
{
    struct as_bytes bytes = as_read_bytes(in, 1);

    return bytes.len ? bytes.data[0] : 0;
}

uint16_t as_read_u16(struct as_reader *in)
{
    struct as_bytes bytes = as_read_bytes(in, 2);

    return bytes.len ? (uint16_t)(bytes.data[0] | bytes.data[1] << 8) : 0;
}

uint32_t as_read_u32(struct as_reader *in)
{
    struct as_bytes bytes = as_read_bytes(in, 4);

    return bytes.len ? load_u32(bytes.data) : 0;
}

uint64_t as_read_u64(struct as_reader *in)
{
    struct as_bytes bytes = as_read_bytes(in, 8);

    return bytes.len ? load_u32(bytes.data) | (uint64_t)load_u32(bytes.data + 4) << 32 : 0;
}

int64_t as_read_i64(struct as_reader *in)
{
    return (int64_t)as_read_u64(in);
}

struct as_bytes as_read_text8(struct as_reader *in)
{
    return as_read_bytes(in, as_read_u8(in));
}

struct as_bytes as_read_text16(struct as_reader *in)
{
    return as_read_bytes(in, as_read_u16(in));
}

struct as_bytes as_read_bytes32(struct as_reader *in)
{
    return as_read_bytes(in, as_read_u32(in));
}

void as_read_string8(struct as_reader *in, char *ret_text, size_t size)
{
    struct as_bytes text = as_read_text8(in);

    AS_ASSERT(size > 0);
    ret_text[0] = '\0';
    if (text.len == 0)
        return;
    if (text.len >= size || memchr(text.data, '\0', text.len)) {
        in->bad = true;
        in->left = 0;
        return;
    }
    memcpy(ret_text, text.data, text.len);
    ret_text[text.len] = '\0';
}

bool as_reader_done(const struct as_reader *in)
{
    return !in->bad && in->left == 0;
}
