/*
 * What is said at the end.
 */
#ifndef ASSENT_TORTURE_REPORT_H
#define ASSENT_TORTURE_REPORT_H

#include "schedule.h"

/* The table; and whether each nemesis has struck as often as a run of that length promises. */
bool report(const struct schedule *schedule, double minutes, bool passed);

#endif
