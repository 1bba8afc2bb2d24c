/* Texts of the error codes. Fault model: none; any number may be asked for. */
#include "assent/err.h"

const char *as_err_text(as_err err)
{
    switch (err) {
#define AS_ERR_TEXT(name, code, text) \
    case (code):                      \
        return text;
        AS_ERR_MAP(AS_ERR_TEXT)
#undef AS_ERR_TEXT
    default:
        return "unknown error";
    }
}
