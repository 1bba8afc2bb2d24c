/*
 * Reading one transaction: when the table here is new enough to answer (docs/consistency.md).
 *
 * Fault model: this node may be cut off, or deposed without knowing it. A linearizable read is
 * answered only after a majority has said that nobody else leads (Raft's ReadIndex, thesis 6.4).
 */
#include <string.h>

#include "assent/alloc.h"
#include "coordinator/node/internal.h"

#define READERS_MAX 65536
/* A session read waits so long at most for this node to catch up, or as long as its client waits. */
#define CATCH_UP_MS 2000

static void refuse(struct node *node, uint64_t client, const char *id, enum as_refusal why)
{
    struct as_reply reply = {.refused = true, .refusal = why, .id = id};

    node->ops->client_reply(node->env, client, &reply);
}

static void answer(struct node *node, uint64_t client, const char *id, uint32_t wait_ms)
{
    node_txn(node, &(struct txn_event){.kind = TXN_GET, .get = {client, id, wait_ms}});
}

static struct node_reader *reader_new(struct node *node)
{
    if (node->reader_count == READERS_MAX)
        return NULL;
    if (node->reader_count == node->reader_cap) {
        uint32_t cap = node->reader_cap ? node->reader_cap * 2 : 16;
        void *grown = as_resize(node->readers, cap * sizeof(*node->readers));

        if (!grown)
            return NULL;
        node->readers = grown;
        node->reader_cap = cap;
    }
    return &node->readers[node->reader_count];
}

static bool reader_add(struct node *node, uint64_t client, const char *id, uint32_t wait_ms,
                       uint64_t request, uint64_t index)
{
    struct node_reader *reader = reader_new(node);
    uint32_t patience_ms = wait_ms > CATCH_UP_MS ? wait_ms : CATCH_UP_MS;

    if (!reader) {
        refuse(node, client, id, AS_REFUSAL_OVERLOADED);
        return false;
    }
    *reader = (struct node_reader){
        .client = client,
        .request = request,
        .index = index,
        .wait_ms = wait_ms,
        .until = node->ops->now(node->env) + (as_time)patience_ms * AS_MS,
    };
    strncpy(reader->id, id, AS_ID_LEN_MAX);
    node->reader_count++;
    return true;
}

void node_get(struct node *node, uint64_t client, const char *id, uint32_t wait_ms,
              enum node_read read, uint64_t index)
{
    struct raft_event event = {.kind = RAFT_READ_INDEX, .request = node->read_request + 1};

    if (node->failed)
        return;
    if (read == NODE_READ_EVENTUAL || (read == NODE_READ_SESSION && index <= node->applied)) {
        answer(node, client, id, wait_ms);
    } else if (read == NODE_READ_SESSION) {
        (void)reader_add(node, client, id, wait_ms, 0, index);
    } else if (!node->leading) {
        refuse(node, client, id, AS_REFUSAL_NO_LEADER);
    } else if (reader_add(node, client, id, wait_ms, event.request, UINT64_MAX)) {
        node->read_request++;
        (void)node_raft(node, &event);
    }
}

/* Newest first: an answer comes to one of the last as a rule. */
static struct node_reader *reader_of(struct node *node, uint64_t request)
{
    for (uint32_t i = node->reader_count; i-- > 0;)
        if (node->readers[i].request == request)
            return &node->readers[i];
    return NULL;
}

void node_read_ready(struct node *node, uint64_t request, uint64_t index)
{
    struct node_reader *reader = reader_of(node, request);

    if (reader)
        reader->index = index;
}

void node_read_refused(struct node *node, uint64_t request)
{
    struct node_reader *reader = reader_of(node, request);

    if (reader)
        reader->refused = true;
}

void node_readers_serve(struct node *node)
{
    as_time now = node->ops->now(node->env);

    for (uint32_t i = 0; i < node->reader_count && !node->failed;) {
        struct node_reader reader = node->readers[i];
        bool late = reader.until <= now;

        if (!reader.refused && !late && reader.index > node->applied) {
            i++;
            continue;
        }
        node->readers[i] = node->readers[--node->reader_count];
        if (!reader.refused && reader.index <= node->applied)
            answer(node, reader.client, reader.id, reader.wait_ms);
        else
            refuse(node, reader.client, reader.id, AS_REFUSAL_NO_LEADER);
    }
}

as_time node_readers_deadline(const struct node *node)
{
    as_time at = AS_NEVER;

    for (uint32_t i = 0; i < node->reader_count; i++)
        if (node->readers[i].until < at)
            at = node->readers[i].until;
    return at;
}

void node_readers_forget(struct node *node, uint64_t client)
{
    for (uint32_t i = 0; i < node->reader_count;) {
        if (node->readers[i].client == client)
            node->readers[i] = node->readers[--node->reader_count];
        else
            i++;
    }
}
