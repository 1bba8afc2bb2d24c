/*
 * The bytes of a snapshot: items of u8 type, u32 length and payload: one HEAD, then CHUNKs and
 * OUTCOMEs in any order, then END with their number.
 */
#ifndef ASSENT_TXN_SNAPSHOT_H
#define ASSENT_TXN_SNAPSHOT_H

#include "coordinator/txn/core.h"

#define SNAPSHOT_MAGIC 0x4e585441u /* "ATXN" */
#define SNAPSHOT_VERSION 1
#define SNAPSHOT_ITEM_HEADER_LEN 5
#define SNAPSHOT_HEAD_LEN_MAX  \
    (4 + 1 + 24 + 16 + 8 + 2 + \
     AS_PARTICIPANTS_MAX * (1 + AS_PARTICIPANT_LEN_MAX + AS_IDENTITY_LEN + 20))

/* Of the time in HEAD up to which ids may have been evicted: behind magic, version, index, term, time and horizon. */
#define SNAPSHOT_HEAD_EVICTED (4 + 1 + 8 + 8 + 8 + 16)

enum snapshot_item { SNAPSHOT_HEAD = 1, SNAPSHOT_CHUNK, SNAPSHOT_OUTCOME, SNAPSHOT_END };

/* Flags of an OUTCOME. */
#define SNAPSHOT_COMMITTED 1u
#define SNAPSHOT_FINISHED 2u /* while a heuristic branch waits: every other one is acknowledged */
#define SNAPSHOT_NAMED 4u
#define SNAPSHOT_WHY 8u
#define SNAPSHOT_RING 16u

#endif
