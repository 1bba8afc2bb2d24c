/*
 * Every nemesis there is. To add one: a file of its own, and its two lines here.
 */
#include "nemesis.h"

extern const struct nemesis nemesis_kill, nemesis_pause;
extern const struct nemesis nemesis_partition, nemesis_isolate, nemesis_one_way, nemesis_loss;
extern const struct nemesis nemesis_bandwidth, nemesis_delay, nemesis_reorder;
extern const struct nemesis nemesis_power, nemesis_eio, nemesis_full;

const struct nemesis *const nemeses[] = {
    &nemesis_kill,    &nemesis_pause, &nemesis_partition, &nemesis_isolate,
    &nemesis_one_way, &nemesis_loss,  &nemesis_bandwidth, &nemesis_delay,
    &nemesis_reorder, &nemesis_power, &nemesis_eio,       &nemesis_full,
};
const size_t nemesis_count = AS_COUNT_OF(nemeses);
