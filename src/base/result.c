/* The texts of the result codes, and the way from errno to them. */
#include "base/result.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const texts[] = {
#define RESULT_LINE(name, text) text,
    RESULT_TABLE(RESULT_LINE)
#undef RESULT_LINE
};

const char *result_text(enum result code) { return (unsigned)code < RESULT_COUNT ? texts[code] : "unknown result"; }

enum result result_from_errno(int error)
{
    switch (error) {
    case 0:
        return RES_OK;
    case ENOENT:
        return RES_NOT_FOUND;
    case EAGAIN:
        return RES_WOULD_BLOCK;
    case ENOMEM:
        return RES_NO_MEMORY;
    case ENOSPC:
    case EDQUOT:
        return RES_NO_SPACE;
    case EINVAL:
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV:
        return RES_INVALID;
    case ERANGE:
    case EOVERFLOW:
        return RES_RANGE;
    case EEXIST:
    case ENOTEMPTY:
        return RES_EXISTS;
    case EBUSY:
    case ETXTBSY:
        return RES_LOCKED;
    case EROFS:
        return RES_READ_ONLY;
    case EOPNOTSUPP:
    case ENOSYS:
        return RES_UNSUPPORTED;
    case EACCES:
    case EPERM:
        return RES_NO_ACCESS;
    case EMFILE:
    case ENFILE:
        return RES_TOO_MANY;
    case EINTR:
        return RES_INTERRUPTED;
    default: /* EIO and what nobody foresaw: trust nothing */
        return RES_IO;
    }
}

enum result errmsg_set(struct errmsg *msg, enum result code, const char *fmt, ...)
{
    if (msg) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(msg->text, sizeof msg->text, fmt, args);
        va_end(args);
    }
    return code;
}
