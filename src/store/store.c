/* Opening and closing what the store keeps beside a shard. */
#include <stdlib.h>

#include "store/store_priv.h"

enum result store_open(struct shard *shard, const struct store_options *options, struct errmsg *msg)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the store");
    const struct front_identity *identity = front_identity(shard_front(shard));
    s->shard = shard;
    s->seed = (struct hash_seed){identity->seed[0], identity->seed[1]};
    s->databases = options->databases ? options->databases : 16;
    s->object_epoch = identity->boot_epoch;
    os_mutex_init(&s->ahead_lock);
    shard_set_store(shard, s);
    enum result r = sampler_open(s);
    if (r == RES_OK)
        r = recency_open(s);
    if (r == RES_OK)
        r = ttl_open(s);
    if (r != RES_OK)
        errmsg_set(msg, r, "no memory for the store");
    if (r == RES_OK)
        r = db_maps_open(s, msg);
    if (r == RES_OK)
        r = expiry_open(s, msg);
    if (r != RES_OK)
        store_close(shard);
    else
        shard_set_prefetch(shard, store_key_ahead);
    return r;
}

void store_close(struct shard *shard)
{
    struct store *s = shard_store(shard);
    if (!s)
        return;
    shard_set_prefetch(shard, NULL);
    expiry_close(s);
    sampler_close(s);
    recency_close(s);
    ttl_close(s);
    db_maps_close(s);
    shard_set_store(shard, NULL);
    ahead_close(s);
    free(s);
}
