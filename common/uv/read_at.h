/*
 * Bytes of an open file, at an offset.
 */
#ifndef ASSENT_UV_READ_AT_H
#define ASSENT_UV_READ_AT_H

#include "assent/base.h"

/* Up to `len`; fewer only at the end of the file. IO. */
as_err read_at(int fd, uint64_t offset, void *ret_data, size_t len, size_t *ret_len) AS_MUSTCHECK;

#endif
