/*
 * Fault model: a read may be cut short by a signal, or fail.
 */
#include "common/uv/read_at.h"

#include <errno.h>
#include <unistd.h>

as_err read_at(int fd, uint64_t offset, void *ret_data, size_t len, size_t *ret_len)
{
    *ret_len = 0;
    while (*ret_len < len) {
        ssize_t n =
            pread(fd, (uint8_t *)ret_data + *ret_len, len - *ret_len, (off_t)(offset + *ret_len));

        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return AS_ERR_IO;
        *ret_len += (size_t)n;
    }
    return AS_OK;
}
