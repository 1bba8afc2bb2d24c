/*
 * Every nemesis there is. To add one: a file of its own, and its two lines here.
 */
#include "nemesis.h"

const struct nemesis *const nemeses[] = {
    NULL,
};
const size_t nemesis_count = AS_COUNT_OF(nemeses) - 1;
