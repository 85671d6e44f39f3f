/* The background threads. */
#include "engine/lsm/lsm.h"

#define IDLE_NS 1000000000u

static void work(void *arg)
{
    struct lsm *lsm = arg;

    os_mutex_lock(&lsm->lock);
    while (!lsm->stopping) {
        if (lsm->gone) {
            os_mutex_unlock(&lsm->lock);
            lsm_bury(lsm);
            os_mutex_lock(&lsm->lock);
            continue;
        }
        os_mutex_unlock(&lsm->lock);
        epoch_poll();
        os_mutex_lock(&lsm->lock);
        if (!lsm->gone && !lsm->stopping)
            (void)os_cond_wait_for(&lsm->work, &lsm->lock, IDLE_NS);
    }
    os_mutex_unlock(&lsm->lock);
}

enum result lsm_start_threads(struct lsm *lsm)
{
    for (int i = 0; i < lsm->options.compaction_threads; i++) {
        enum result r = os_thread_start(&lsm->threads[i], "compact", work, lsm);
        if (r != RES_OK) {
            lsm_stop_threads(lsm);
            return r;
        }
        lsm->thread_count++;
    }
    return RES_OK;
}

void lsm_stop_threads(struct lsm *lsm)
{
    os_mutex_lock(&lsm->lock);
    lsm->stopping = true;
    os_cond_broadcast(&lsm->work);
    os_cond_broadcast(&lsm->done);
    os_mutex_unlock(&lsm->lock);
    for (int i = 0; i < lsm->thread_count; i++)
        os_thread_join(&lsm->threads[i]);
    lsm->thread_count = 0;
}

unsigned lsm_debt(struct engine *e)
{
    (void)e;
    return 0;
}

enum result lsm_compact(struct engine *e, struct slice lower, struct slice upper)
{
    (void)e, (void)lower, (void)upper;
    return RES_OK;
}
