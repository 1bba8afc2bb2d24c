#!/bin/sh
# Writes coordinator/api/openapi.c from docs/openapi.yaml; run it after a change there (a test compares them).
set -eu
cd "$(dirname "$0")/../.."
{
    cat <<'HEAD'
/*
 * GET /openapi.yaml. Made by coordinator/api/openapi.sh from docs/openapi.yaml: change it there.
 */
#include <string.h>

#include "coordinator/api/answer.h"

/* clang-format off */
static const char *const lines[] = {
HEAD
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/    "/' -e 's/$/\\n",/' docs/openapi.yaml
    cat <<'TAIL'
};
/* clang-format on */

void answer_openapi(struct as_buf *buf)
{
    for (size_t i = 0; i < AS_COUNT_OF(lines); i++)
        as_put_bytes(buf, lines[i], strlen(lines[i]));
}
TAIL
} >coordinator/api/openapi.c
