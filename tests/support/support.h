/*
 * What tests share: cmocka with its includes in the right order, and an allocator that fails on
 * demand.
 */
#ifndef ASSENT_TEST_SUPPORT_H
#define ASSENT_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "assent/base.h"

/*
 * The Nth-failure loop (SQLite's way): run `body` with the 1st allocation failing, then the 2nd,
 * and so on, until a run has no failure left. `body` returns what it saw; it must release all it
 * took. After each run the allocator demands that nothing is left allocated.
 */
void test_fail_each_allocation(void (*body)(void *ctx), void *ctx);
/* Whether the allocation to fail has failed in this run: then body may expect NOMEM. */
bool test_allocation_failed(void);

/* Counts live allocations between the two calls; the second fails the test if something is left. */
void test_leaks_begin(void);
void test_leaks_end(void);

#endif
