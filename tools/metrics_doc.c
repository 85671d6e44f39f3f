/* Makes docs/metrics.md from the declarations of the metrics (src/cmd/metrics.def). `make metrics-docs` writes it; a test
 * compares what is committed with what comes out. */
#include "cmd/metrics.h"

int main(void)
{
    metrics_document(stdout);
    return 0;
}
