/*
 * Every maximum has a name, and it stands here. Those an operator may change are defaults of the
 * config key of the same name (docs/operations.md); the others are part of a format.
 */
#ifndef ASSENT_LIMITS_H
#define ASSENT_LIMITS_H

/* Names and identifiers (protocol.md, "Words"). */
#define AS_ID_LEN_MAX 64          /* transaction id */
#define AS_CLUSTER_LEN_MAX 32     /* cluster name */
#define AS_PARTICIPANT_LEN_MAX 63 /* participant name: [a-z0-9_-], first a letter */
#define AS_OPERATION_LEN_MAX 63   /* name of an operation: [a-z0-9_.-], first a letter */
#define AS_GID_LEN_MAX 199        /* PostgreSQL refuses 200 bytes and more (22023) */
#define AS_ROLE_LEN_MAX 63        /* PostgreSQL cuts names there */
#define AS_IDENTITY_LEN 16        /* random token of a database */
#define AS_HASH_LEN 32            /* SHA-256 of the canonical branches */

/* One transaction. */
#define AS_BRANCHES_MAX 64           /* branches of one transaction */
#define AS_STATEMENTS_MAX 1000       /* statements of one branch */
#define AS_PARAMS_MAX 65535          /* parameters of one statement: PostgreSQL's protocol limit */
#define AS_BODY_BYTES_MAX (1u << 20) /* HTTP body */
#define AS_RESULT_BYTES_MAX (1u << 20) /* encoded results of one branch */
#define AS_REASON_LEN_MAX 500          /* message of a reason, cut at a UTF-8 boundary with "..." */
#define AS_WHO_LEN_MAX 100             /* who an operator says he is */
#define AS_TIMEOUT_MS_DEFAULT 30000
#define AS_TIMEOUT_MS_MAX 3600000

/* The file of [api] tokens. */
#define AS_GRANTS_MAX 1000     /* lines of it */
#define AS_GRANT_LINE_MAX 4095 /* bytes of one: some sixty participants with the longest names */
#define AS_GRANT_RATE_MAX 1000000

/* Tables. */
#define AS_PARTICIPANTS_MAX 256
#define AS_AGENT_SESSIONS_MAX 256
#define AS_NODES_MAX 9          /* coordinators of a cluster, those included that only learn */
#define AS_UNDECIDED_MAX 65536  /* attempts in flight at the leader */
#define AS_OUTCOMES_MAX 2000000 /* outcomes kept by id: some 1.2 GB */
#define AS_RETENTION_MS 600000  /* an outcome younger than this is never evicted (R9) */
#define AS_COMMITTED_SET_BYTES_MAX (64u << 20) /* bitmap chunks of committed attempts (R8) */

#define AS_OPERATIONS_MAX 1000 /* named operations of a participant, and bytes of their file */
#define AS_OPERATIONS_BYTES_MAX (1u << 20)

/* Wire. */
#define AS_FRAME_BYTES_MAX (4u << 20)
#define AS_PREPARED_LISTED_MAX 1000         /* prepared transactions in one listing */
#define AS_SEND_QUEUE_BYTES_MAX (64u << 20) /* unsent bytes of one session before it is closed */

/* Decision log. */
#define AS_SEGMENT_BYTES (64u << 20)
#define AS_SEGMENT_BYTES_MIN (64u << 10)
#define AS_RECORD_BYTES_MAX (1u << 20)

#endif
