/*
 * Every nemesis there is. To add one: a file of its own, and its two lines here. Those of the disk come before those that make
 * servers of their own.
 */
#include "nemesis.h"

extern const struct nemesis nemesis_kill, nemesis_pause;
extern const struct nemesis nemesis_partition, nemesis_isolate, nemesis_one_way, nemesis_loss;
extern const struct nemesis nemesis_bandwidth, nemesis_delay, nemesis_reorder;
extern const struct nemesis nemesis_power, nemesis_eio, nemesis_full;
extern const struct nemesis nemesis_clock, nemesis_restart, nemesis_terminate, nemesis_person;
extern const struct nemesis nemesis_failover_sync, nemesis_failover_async;

const struct nemesis *const nemeses[] = {
    &nemesis_kill,          &nemesis_pause,          &nemesis_partition, &nemesis_isolate,
    &nemesis_one_way,       &nemesis_loss,           &nemesis_bandwidth, &nemesis_delay,
    &nemesis_reorder,       &nemesis_power,          &nemesis_eio,       &nemesis_full,
    &nemesis_clock,         &nemesis_restart,        &nemesis_terminate, &nemesis_person,
    &nemesis_failover_sync, &nemesis_failover_async,
};
const size_t nemesis_count = AS_COUNT_OF(nemeses);
