/* Whole data directories: the first byte chooses one of those that tests/lib/directory.h makes, the rest damages it. Checksums
 * are not compared in fuzzing builds, so that what lies behind them is reached: no crash, no byte read outside, what opens
 * closes. In ordinary builds what is read must be right as well. */
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "config.h"
#include "tests/lib/directory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct directory directories[DIRECTORY_KINDS];
    char why[256] = "";
#ifdef VARVE_FUZZING
    bool compare = false;
#else
    bool compare = true;
#endif
    log_set_level(LOG_NOTHING);
    if (size < 2 || size > 600)
        return 0;
    struct directory *d = &directories[data[0] % DIRECTORY_KINDS];
    checksum32_any = false;
    if (!d->env && !directory_make(d, data[0] % DIRECTORY_KINDS))
        abort();
    checksum32_any = true;
    if (!directory_try(d, data + 1, size - 1, compare, why, sizeof(why))) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
    return 0;
}
