/* The memtable's memory, hash table, versions and skiplist; see memtable.h. Order on demand and iterators are in
 * memtable_order.c. */
#include "front/memtable.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE ((uint64_t)2 << 20)
#define INSERT_AHEAD 256
#define ADDRESS_BITS 48 /* of user space; above them a bucket keeps its filter */
#define ADDRESS_MASK (((uintptr_t)1 << ADDRESS_BITS) - 1)

static uint64_t round_up(uint64_t v, uint64_t to) { return (v + to - 1) / to * to; }

static uint64_t bucket_bytes(const struct memtable *m) { return (m->mask + 1) * sizeof(*m->buckets); }

static void *map_memory(uint64_t bytes, bool large)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (!large || bytes >= HUGE_PAGE)
        (void)madvise(p, bytes, large ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return p;
}

static void *take(struct memtable *m, uint64_t bytes)
{
    uint64_t used = atomic_load_explicit(&m->used, memory_order_relaxed);
    bytes = (bytes + 7) & ~(uint64_t)7;
    assert(m->capacity - used >= bytes);
    atomic_store_explicit(&m->used, used + bytes, memory_order_relaxed);
    return m->memory + used;
}

/* A node with a tower of `height` links below it and `extra` bytes behind its key. */
static struct memtable_node *take_node(struct memtable *m, int height, size_t key_len, size_t extra)
{
    size_t tower = (size_t)height * sizeof(void *);
    uint8_t *p = take(m, tower + offsetof(struct memtable_node, key) + key_len + extra);
    return (struct memtable_node *)(void *)(p + tower);
}

static void make_skip_head(struct memtable *m)
{
    struct memtable_node *n = take_node(m, MEMTABLE_MAX_HEIGHT, 0, 0);
    n->height = MEMTABLE_MAX_HEIGHT;
    n->key_len = 0;
    for (int i = 0; i < MEMTABLE_MAX_HEIGHT; i++)
        atomic_init(memtable_link(n, i), NULL);
    m->skip_head = n;
    m->last_skip = NULL;
    atomic_store_explicit(&m->height, 1, memory_order_relaxed);
}

struct memtable *memtable_new(uint64_t full_at, uint64_t room)
{
    struct memtable *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    uint64_t buckets = 64;
    while (buckets < full_at / 160)
        buckets *= 2;
    m->mask = buckets - 1;
    m->limit = m->full_at = full_at;
    m->large = full_at >= MEMTABLE_LARGE;
    m->capacity = round_up(full_at + room + 4096, full_at + room >= HUGE_PAGE ? HUGE_PAGE : 4096);
    m->memory = map_memory(m->capacity, m->large);
    m->buckets = (void *)m->memory;
    os_mutex_init(&m->order_lock);
    m->random = 0x9e3779b97f4a7c15u;
    if (!m->memory) {
        memtable_free(m);
        return NULL;
    }
    m->used = bucket_bytes(m);
    make_skip_head(m);
    return m;
}

void memtable_free(struct memtable *m)
{
    if (!m)
        return;
    memtable_runs_free(m);
    memtable_prune_forget(m);
    os_mutex_fini(&m->order_lock);
    if (m->memory)
        munmap(m->memory, m->capacity);
    free(m);
}

void memtable_reset(struct memtable *m)
{
    memtable_runs_free(m);
    memtable_prune_forget(m);
    if ((m->large || madvise(m->memory, m->capacity, MADV_DONTNEED)) && !memtable_empty(m))
        memset(m->memory, 0, bucket_bytes(m));
    atomic_store_explicit(&m->limit, m->full_at, memory_order_relaxed);
    atomic_store_explicit(&m->used, bucket_bytes(m), memory_order_relaxed);
    atomic_store_explicit(&m->records, 0, memory_order_relaxed);
    atomic_store_explicit(&m->deletes, 0, memory_order_relaxed);
    atomic_store_explicit(&m->nodes, 0, memory_order_relaxed);
    for (int i = 0; i < CHAINS; i++) {
        atomic_store_explicit(&m->chains[i].last, NULL, memory_order_relaxed);
        atomic_store_explicit(&m->chains[i].count, 0, memory_order_relaxed);
    }
    m->first_sequence = 0;
    make_skip_head(m);
}

void memtable_lower(struct memtable *m, uint64_t full_at)
{
    if (full_at < m->full_at)
        atomic_store_explicit(&m->limit, full_at, memory_order_relaxed);
}

bool memtable_populate(struct memtable *m, uint64_t ahead)
{
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
    uint64_t want = memtable_used(m) + ahead, populated = atomic_load_explicit(&m->populated, memory_order_relaxed);
    uint64_t most = atomic_load_explicit(&m->limit, memory_order_relaxed) + MEMTABLE_POPULATED;
    if (!m->large) /* left to page faults */
        return false;
    want = round_up(want < most ? want : most, HUGE_PAGE);
    if (want > m->capacity)
        want = m->capacity;
    if (want <= populated)
        return false;
    if (want - populated > HUGE_PAGE)
        want = populated + HUGE_PAGE;
    (void)madvise(m->memory + populated, want - populated, MADV_POPULATE_WRITE);
    atomic_store_explicit(&m->populated, want, memory_order_relaxed);
    return true;
}

/* ---- hash table ---- */

static uintptr_t filter_bit(uint64_t hash) { return (uintptr_t)1 << (ADDRESS_BITS + ((hash >> 28) & 15)); }

static struct memtable_node *bucket_head(uintptr_t word) { return (struct memtable_node *)(word & ADDRESS_MASK); }

static struct memtable_node *find_node(const struct memtable *m, const struct engine_key *key)
{
    uintptr_t word = atomic_load_explicit(&m->buckets[key->hash & m->mask], memory_order_acquire);
    if (!(word & filter_bit(key->hash)))
        return NULL;
    struct memtable_node *n = bucket_head(word);
    uint32_t high = (uint32_t)(key->hash >> 32);
    while (n) {
        if (n->hash == high && n->key_len == key->bytes.len && memcmp(n->key, key->bytes.data, key->bytes.len) == 0)
            return n;
        n = atomic_load_explicit(&n->next, memory_order_acquire);
    }
    return NULL;
}

bool memtable_get(const struct memtable *m, const struct engine_key *key, uint64_t snapshot, uint8_t *kind,
                  struct slice *value)
{
    const struct memtable_node *n = find_node(m, key);
    const struct memtable_version *v = n ? memtable_version_at(n, snapshot) : NULL;
    if (!v)
        return false;
    *kind = v->kind;
    *value = slice_of(v->data, v->len);
    return true;
}

void memtable_prefetch(const struct memtable *m, uint64_t hash)
{
    __builtin_prefetch((const char *)m->memory + (hash & m->mask) * sizeof(*m->buckets));
}

const struct memtable_node *memtable_prefetch_node(const struct memtable *m, uint64_t hash)
{
    uintptr_t word = atomic_load_explicit(&m->buckets[hash & m->mask], memory_order_acquire);
    if (!(word & filter_bit(hash)))
        return NULL;
    const struct memtable_node *n = bucket_head(word);
    __builtin_prefetch(n);
    __builtin_prefetch((const char *)n + 64);
    return n;
}

void memtable_prefetch_version(const struct memtable_node *n)
{
    const char *v = (const char *)atomic_load_explicit(&n->newest, memory_order_acquire);
    __builtin_prefetch(v);
    __builtin_prefetch(v + 64);
}

/* ---- skiplist ---- */

struct memtable_node *memtable_skip_find(struct memtable *m, struct slice target, struct memtable_node **before)
{
    struct memtable_node *at = m->skip_head, *next = NULL, *larger = NULL;
    for (int level = atomic_load_explicit(&m->height, memory_order_relaxed) - 1; level >= 0; level--) {
        for (;;) {
            next = atomic_load_explicit(memtable_link(at, level), memory_order_acquire);
            if (!next || next == larger || slice_cmp(memtable_node_key(next), target) >= 0)
                break;
            at = next;
        }
        larger = next;
        if (before)
            before[level] = at;
    }
    return next;
}

static int random_height(struct memtable *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    int height = 1;
    for (uint64_t r = m->random; height < MEMTABLE_MAX_HEIGHT && (r & 3) == 0; r >>= 2)
        height++;
    return height;
}

static bool next_is_below(struct memtable_node *at, int level, struct slice key)
{
    struct memtable_node *next = atomic_load_explicit(memtable_link(at, level), memory_order_relaxed);
    return next && slice_cmp(memtable_node_key(next), key) < 0;
}

/* What memtable_skip_find() puts into m->last_before, for a key above the node inserted last: searched from there, up as
 * far as the key is away. So elements that are appended in order cost no search, and those that come in order little. */
static void find_after_last(struct memtable *m, struct slice key)
{
    struct memtable_node **before = m->last_before, *last = m->last_skip;
    int height = atomic_load_explicit(&m->height, memory_order_relaxed), level = 0;
    for (int i = 0; i < last->height; i++)
        before[i] = last;
    while (level + 1 < height && next_is_below(before[level], level, key))
        level++;
    struct memtable_node *moved = NULL; /* beyond all that is in `before` below this level */
    for (; level >= 0; level--) {
        struct memtable_node *at = moved ? moved : before[level];
        for (; next_is_below(at, level, key); at = moved)
            moved = atomic_load_explicit(memtable_link(at, level), memory_order_relaxed);
        before[level] = at;
    }
}

void memtable_skip_insert(struct memtable *m, struct memtable_node *n)
{
    struct memtable_node **before = m->last_before;
    int height = atomic_load_explicit(&m->height, memory_order_relaxed);
    if (m->last_skip && slice_cmp(memtable_node_key(m->last_skip), memtable_node_key(n)) < 0)
        find_after_last(m, memtable_node_key(n));
    else
        memtable_skip_find(m, memtable_node_key(n), before);
    m->last_skip = n;
    for (; height < n->height; height++)
        before[height] = m->skip_head;
    for (int i = 0; i < n->height; i++) {
        struct memtable_node *next = atomic_load_explicit(memtable_link(before[i], i), memory_order_relaxed);
        atomic_store_explicit(memtable_link(n, i), next, memory_order_relaxed);
        atomic_store_explicit(memtable_link(before[i], i), n, memory_order_release);
    }
    atomic_store_explicit(&m->height, height, memory_order_relaxed);
}

/* ---- insert ---- */

static void fill_version(struct memtable_version *v, uint8_t kind, struct slice value, uint64_t sequence,
                         struct memtable_version *older)
{
    v->sequence = sequence;
    v->older = older;
    v->len = (uint32_t)value.len;
    v->kind = kind;
    v->noted = 0;
    if (value.len)
        memcpy(v->data, value.data, value.len);
}

static inline void count_up(_Atomic uint64_t *counter) /* one writer: no locked instruction needed */
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

static struct memtable_chain *chain_for(struct memtable *m, struct slice key)
{
    switch (key.len ? key.data[0] : 0) {
    case REGION_META:
        return &m->chains[CHAIN_META];
    case REGION_ELEMENT:
        return &m->chains[memtable_is_member(key) ? CHAIN_MEMBER : CHAIN_ELEMENT];
    case REGION_EXPIRY:
        return &m->chains[CHAIN_EXPIRY];
    default:
        return &m->chains[CHAIN_OTHER];
    }
}

static void insert_node(struct memtable *m, const struct engine_key *key, uint8_t kind, struct slice value,
                        uint64_t sequence)
{
    struct memtable_chain *chain = chain_for(m, key->bytes);
    int height = chain == &m->chains[CHAIN_META] ? 0 : random_height(m);
    size_t key_end = (offsetof(struct memtable_node, key) + key->bytes.len + 7) & ~(size_t)7;
    size_t extra =
        key_end - offsetof(struct memtable_node, key) - key->bytes.len + offsetof(struct memtable_version, data);
    struct memtable_node *n = take_node(m, height, key->bytes.len, extra + value.len);
    struct memtable_version *v = (struct memtable_version *)(void *)((uint8_t *)n + key_end);
    fill_version(v, kind, value, sequence, NULL);
    n->hash = (uint32_t)(key->hash >> 32);
    n->key_len = (uint16_t)key->bytes.len;
    n->height = (uint8_t)height;
    n->overwrites = 0;
    n->before = atomic_load_explicit(&chain->last, memory_order_relaxed);
    memcpy(n->key, key->bytes.data, key->bytes.len);
    atomic_init(&n->newest, v);
    atomic_store_explicit(&chain->last, n, memory_order_release);
    count_up(&chain->count);
    _Atomic(uintptr_t) *bucket = &m->buckets[key->hash & m->mask];
    uintptr_t word = atomic_load_explicit(bucket, memory_order_relaxed);
    atomic_init(&n->next, bucket_head(word));
    assert(((uintptr_t)n & ~ADDRESS_MASK) == 0);
    word = (word & ~ADDRESS_MASK) | (uintptr_t)n | filter_bit(key->hash);
    atomic_store_explicit(bucket, word, memory_order_release);
    count_up(&m->nodes);
}

void memtable_insert(struct memtable *m, const struct engine_key *key, uint8_t kind, struct slice value,
                     uint64_t sequence)
{
    assert(key->bytes.len <= ENGINE_KEY_MAX && value.len <= UINT32_MAX);
    struct memtable_node *n = find_node(m, key);
    if (n) {
        struct memtable_version *older = atomic_load_explicit(&n->newest, memory_order_relaxed);
        if (older->older)
            memtable_prune_note(m, n, older);
        struct memtable_version *v = memtable_prune_take(m, value.len);
        if (!v)
            v = take(m, offsetof(struct memtable_version, data) + value.len);
        assert(older->sequence < sequence);
        fill_version(v, kind, value, sequence, older);
        atomic_store_explicit(&n->newest, v, memory_order_release);
    } else {
        insert_node(m, key, kind, value, sequence);
    }
    if (!m->first_sequence)
        m->first_sequence = sequence;
    count_up(&m->records);
    prefetch_for_write(m->memory + memtable_used(m), INSERT_AHEAD); /* has come when the next record does */
    if (kind == RECORD_DELETE || key->bytes.data[0] == REGION_DEAD)
        count_up(&m->deletes);
}
