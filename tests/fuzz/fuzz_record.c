/*
 * What the transaction table reads from the log: payloads of records, whole sequences of entries,
 * and snapshots. The first byte says which. A record that is taken is put back as the same bytes;
 * whatever entries are folded, the table can be written as a snapshot and is the same when it is
 * read again; a snapshot that is accepted is a table like any other.
 */
#include "coordinator/txn/txn.h"
#include "tests/fuzz/fuzz.h"

static void one_record(uint8_t type, struct as_bytes payload)
{
    struct txn_record record;
    struct as_buf buf;

    if (txn_record_take(type, payload, &record))
        return;
    as_buf_init(&buf, AS_RECORD_BYTES_MAX);
    txn_record_put(&buf, &record);
    AS_ASSERT(!buf.err && fuzz_same(as_buf_bytes(&buf), payload));
    AS_ASSERT(txn_record_type_text(type)[0] != '?');
    as_buf_close(&buf);
}

/* Small limits, so that eviction and horizons are reached. */
static struct txn *new_core(void)
{
    struct txn_config config = {
        .seed = 1, .outcomes_max = 4, .retention_ms = 5, .committed_bytes_max = 1000};
    struct txn *txn;

    AS_ASSERT(txn_new(&txn, &config) == AS_OK);
    return txn;
}

static void reread(struct txn *txn)
{
    struct txn *copy = new_core();
    uint64_t index, term;
    struct as_buf buf;
    bool done = false;

    as_buf_init(&buf, SIZE_MAX / 2);
    AS_ASSERT(txn_snapshot_begin(txn, &index, &term) == AS_OK);
    while (!done)
        AS_ASSERT(txn_snapshot_next(txn, &buf, 100, &done) == AS_OK);
    txn_snapshot_end(txn);
    AS_ASSERT(txn_restore(copy, as_buf_bytes(&buf), true) == AS_OK);
    AS_ASSERT(txn_digest(copy) == txn_digest(txn));
    AS_ASSERT(txn_applied_index(copy) == index && txn_applied_term(copy) == term);
    as_buf_close(&buf);
    txn_free(copy);
}

/* Entries of u8 type, u8 what moves on (term, time), u16 length and payload; then the leader takes
 * over. */
static void entries(struct as_reader in)
{
    struct txn *txn = new_core();
    struct txn_event event = {.kind = TXN_APPLY};
    struct txn_effects effects;

    event.entry.term = 1;
    while (in.left > 0 && event.entry.index < 200) {
        uint8_t moves;

        event.entry.type = as_read_u8(&in);
        moves = as_read_u8(&in);
        event.entry.payload = as_read_text16(&in);
        event.entry.index++;
        event.entry.term += moves & 1;
        event.entry.time_ms += moves >> 4;
        if (txn_step(txn, &event, &effects))
            event.entry.index--; /* refused: it was never in the log */
    }
    reread(txn);
    event = (struct txn_event){.kind = TXN_LEAD, .term = event.entry.term + 1};
    AS_ASSERT(txn_step(txn, &event, &effects) == AS_OK);
    event = (struct txn_event){.kind = TXN_TIMER, .now = AS_SECOND};
    AS_ASSERT(txn_step(txn, &event, &effects) == AS_OK);
    event = (struct txn_event){.kind = TXN_RESIGN, .now = AS_SECOND};
    AS_ASSERT(txn_step(txn, &event, &effects) == AS_OK);
    txn_free(txn);
}

static void snapshot(struct as_bytes bytes)
{
    struct txn *txn = new_core();
    size_t half = bytes.len / 2;

    if (txn_restore(txn, (struct as_bytes){bytes.data, half}, false) == AS_OK &&
        txn_restore(txn, (struct as_bytes){bytes.data + half, bytes.len - half}, true) == AS_OK)
        reread(txn);
    txn_free(txn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] == 0)
        one_record(data[1], (struct as_bytes){data + 2, size - 2});
    else if (data[0] == 1)
        entries(as_reader_of((struct as_bytes){data + 1, size - 1}));
    else
        snapshot((struct as_bytes){data + 1, size - 1});
    return 0;
}
