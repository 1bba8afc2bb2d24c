/*
 * Texts of states and reasons. Fault model: numbers out of range and messages of any bytes and
 * length, for they come from databases and peers.
 */
#include "assent/reason.h"

#include <string.h>

#include "common/text.h"

#define TEXT_ENTRY(name, text) text,

static const char *const txn_states[] = {AS_TXN_STATE_MAP(TEXT_ENTRY)};
static const char *const branch_states[] = {AS_BRANCH_STATE_MAP(TEXT_ENTRY)};
static const char *const verdicts[] = {AS_VERDICT_MAP(TEXT_ENTRY)};
static const char *const prepareds[] = {AS_PREPARED_MAP(TEXT_ENTRY)};
static const char *const reasons[] = {AS_REASON_MAP(TEXT_ENTRY)};

const char *as_txn_state_text(enum as_txn_state state)
{
    return (size_t)state < AS_COUNT_OF(txn_states) ? txn_states[state] : "?";
}

const char *as_branch_state_text(enum as_branch_state state)
{
    return (size_t)state < AS_COUNT_OF(branch_states) ? branch_states[state] : "?";
}

const char *as_verdict_text(enum as_verdict verdict)
{
    return (size_t)verdict < AS_COUNT_OF(verdicts) ? verdicts[verdict] : "?";
}

const char *as_prepared_text(enum as_prepared prepared)
{
    return (size_t)prepared < AS_COUNT_OF(prepareds) ? prepareds[prepared] : "?";
}

const char *as_reason_text(enum as_reason_code code)
{
    return (size_t)code < AS_COUNT_OF(reasons) ? reasons[code] : "?";
}

as_err as_txn_state_of(const char *text, enum as_txn_state *ret_state)
{
    for (size_t i = 0; i < AS_COUNT_OF(txn_states); i++) {
        if (strcmp(text, txn_states[i]) == 0) {
            *ret_state = (enum as_txn_state)i;
            return AS_OK;
        }
    }
    return AS_ERR_NOTFOUND;
}

void as_reason_set(struct as_reason *reason, enum as_reason_code code, const char *message)
{
    size_t len = message ? strlen(message) : 0;

    as_reason_set_bytes(reason, code, (struct as_bytes){(const uint8_t *)message, len});
}

void as_reason_set_bytes(struct as_reason *reason, enum as_reason_code code,
                         struct as_bytes message)
{
    const uint8_t *nul = message.len > 0 ? memchr(message.data, '\0', message.len) : NULL;

    if (nul)
        message.len = (size_t)(nul - message.data);
    *reason = (struct as_reason){.code = code, .statement = -1};
    as_text_cut(message, AS_REASON_LEN_MAX, reason->message);
}
