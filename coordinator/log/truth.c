/*
 * Recovery as a truth table. Every ending meets exactly one row
 * (tests/unit/coordinator_log/test_truth.c).
 *
 * Why a claim decides: a write is started only when the one before it is durable, and its records
 * say up to where. So a record that was ever acknowledged, or stood before one, is claimed by
 * whatever was written next; a torn write is claimed by nothing, since nothing was started after
 * it.
 */
#include "coordinator/log/recover.h"

const struct log_truth log_truth_table[] = {
    /* what stands there, last, claimed, follows -> verdict */
    {LOG_END_MISFIT, LOG_ANY, LOG_ANY, LOG_ANY, LOG_VERDICT_MISFIT},
    {LOG_END_SEAL, LOG_YES, LOG_ANY, LOG_ANY, LOG_VERDICT_GAP},
    {LOG_END_SEAL, LOG_NO, LOG_ANY, LOG_YES, LOG_VERDICT_NEXT},
    {LOG_END_SEAL, LOG_NO, LOG_ANY, LOG_NO, LOG_VERDICT_STRANGER},
    {LOG_END_NONE, LOG_ANY, LOG_YES, LOG_ANY, LOG_VERDICT_DAMAGED},
    {LOG_END_NONE, LOG_YES, LOG_NO, LOG_ANY, LOG_VERDICT_END},
    {LOG_END_NONE, LOG_NO, LOG_NO, LOG_YES, LOG_VERDICT_RESEAL},
    {LOG_END_NONE, LOG_NO, LOG_NO, LOG_NO, LOG_VERDICT_STRANGER},
};
const size_t log_truth_count = AS_COUNT_OF(log_truth_table);

static bool fits(uint8_t wanted, bool is)
{
    return wanted == LOG_ANY || (wanted == LOG_YES) == is;
}

bool log_truth_matches(const struct log_truth *row, const struct log_ending *ending)
{
    return row->end == ending->end && fits(row->last, ending->last) &&
           fits(row->claimed, ending->claimed) && fits(row->follows, ending->follows);
}

enum log_verdict log_judge(const struct log_ending *ending)
{
    size_t row = 0;

    while (row < log_truth_count && !log_truth_matches(&log_truth_table[row], ending))
        row++;
    AS_ASSERT(row < log_truth_count);
    return log_truth_table[row].verdict;
}
