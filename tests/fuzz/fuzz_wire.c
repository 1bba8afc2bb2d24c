/*
 * Bytes from a peer. They are taken as a stream as they come, and once more as one frame with its
 * version, length and checksum made right, for no search finds a checksum. A message that is taken
 * encodes back to the same bytes, and every view in it lies within them.
 */
#include <stdlib.h>

#include "assent/limits.h"
#include "assent/map.h"
#include "assent/wire.h"
#include "tests/fuzz/fuzz.h"

/* Who reads them meets no error, and they are the same when they are written again. */
static void check_rows(struct as_bytes rows)
{
    struct as_reader in = as_reader_of(rows);
    struct as_wire_prepared row;
    struct as_buf again;

    as_buf_init(&again, AS_FRAME_BYTES_MAX);
    while (in.left > 0) {
        AS_ASSERT(as_wire_prepared_take(&in, &row) == AS_OK);
        as_wire_prepared_put(&again, &row);
    }
    AS_ASSERT(!again.err && fuzz_same(as_buf_bytes(&again), rows));
    as_buf_close(&again);
}

static void check(struct as_bytes frame, const struct as_wire_msg *msg)
{
    struct as_buf again;

    as_buf_init(&again, AS_FRAME_BYTES_MAX);
    as_wire_put(&again, msg);
    AS_ASSERT(again.err == AS_OK && fuzz_same(as_buf_bytes(&again), frame));
    as_buf_close(&again);
    if (msg->type == AS_WIRE_LISTED)
        check_rows(msg->listed.rows);
}

static void take_stream(struct as_bytes bytes)
{
    struct as_wire_msg msg;
    size_t used;

    while (as_wire_take(bytes, &msg, &used) == AS_OK) {
        AS_ASSERT(used >= AS_FRAME_HEADER_LEN && used <= bytes.len);
        check((struct as_bytes){bytes.data, used}, &msg);
        bytes.data += used;
        bytes.len -= used;
    }
}

static void store(uint8_t *to, uint64_t value, int size)
{
    for (int i = 0; i < size; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static void take_sealed(struct as_bytes bytes)
{
    size_t len = bytes.len - AS_FRAME_HEADER_LEN, used;
    uint64_t version = bytes.data[AS_FRAME_VERSION_AT] % AS_WIRE_VERSION + 1u;
    uint64_t head = (uint64_t)len | (uint64_t)bytes.data[4] << 32 | version << 40;
    uint8_t *frame = malloc(bytes.len);
    struct as_wire_msg msg;
    as_err err;

    AS_ASSERT(frame);
    memcpy(frame, bytes.data, bytes.len);
    store(frame, head, 8);
    store(frame + 8, as_hash(frame + AS_FRAME_HEADER_LEN, len, head), 8);
    err = as_wire_take((struct as_bytes){frame, bytes.len}, &msg, &used);
    AS_ASSERT(err == AS_OK || err == AS_ERR_MALFORMED || err == AS_ERR_VERSION);
    if (err == AS_OK) {
        AS_ASSERT(used == bytes.len && msg.type == bytes.data[4]);
        check((struct as_bytes){frame, used}, &msg);
    }
    free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    take_stream((struct as_bytes){data, size});
    if (size >= AS_FRAME_HEADER_LEN && size <= AS_FRAME_BYTES_MAX)
        take_sealed((struct as_bytes){data, size});
    return 0;
}
