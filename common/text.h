/*
 * Texts for people that must fit a limit.
 */
#ifndef ASSENT_COMMON_TEXT_H
#define ASSENT_COMMON_TEXT_H

#include "assent/base.h"

/*
 * Copies `text` to ret_text, at most `max` bytes (max > 3): a longer one is cut at a UTF-8 boundary
 * and
 * "..." marks the cut. Returns the length. No NUL is added.
 */
size_t as_text_cut(struct as_bytes text, size_t max, char *ret_text);

#endif
