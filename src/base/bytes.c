/* What slices and byte strings need beyond their inline functions. */
#include "base/bytes.h"

bool slice_eq_nocase(struct slice a, const char *lower)
{
    for (size_t i = 0; i < a.len; i++) {
        uint8_t c = a.data[i];
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if (c == 0 || c != (uint8_t)lower[i]) /* lower[i] exists: all before it were equal and not 0 */
            return false;
    }
    return lower[a.len] == 0;
}

bool take_varint(struct slice *in, uint64_t *out)
{
    uint64_t v = 0;
    size_t max = in->len < VARINT_MAX ? in->len : VARINT_MAX;

    for (size_t i = 0; i < max; i++) {
        uint8_t b = in->data[i];
        if (i == VARINT_MAX - 1 && b > 1) /* bits above the 64th */
            return false;
        v |= (uint64_t)(b & 0x7f) << (7 * i);
        if (!(b & 0x80)) {
            in->data += i + 1;
            in->len -= i + 1;
            *out = v;
            return true;
        }
    }
    return false;
}
