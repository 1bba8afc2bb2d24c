/* Cutting texts to their limit. Fault model: any bytes; what is no UTF-8 is cut anywhere. */
#include "common/text.h"

#include <string.h>

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t as_text_cut(struct as_bytes text, size_t max, char *ret_text)
{
    size_t len = text.len;

    if (len <= max) {
        if (len > 0)
            memcpy(ret_text, text.data, len);
        return len;
    }
    len = max - 3;
    /* A character has three continuation bytes at most. */
    for (int i = 0; i < 3 && len > 0 && is_continuation(text.data[len]); i++)
        len--;
    if (is_continuation(text.data[len]))
        len = max - 3;
    memcpy(ret_text, text.data, len);
    memcpy(ret_text + len, "...", 3);
    return len + 3;
}
