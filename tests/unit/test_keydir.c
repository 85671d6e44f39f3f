/* Key directories (engine/keydir.h) against a sorted array: any edit gives exactly what the array has, by finding and by
 * walking both ways; old roots stay as they were; nothing is leaked; and a key takes no more memory than is said. */
#include <malloc.h>

#include "base/hash.h"
#include "engine/keydir.h"
#include "tests/lib/tap.h"

#define KEYS 3000

static uint64_t rng_state;
static uint64_t rng(void) { return hash_mix(rng_state += 0x9e3779b97f4a7c15u); }
static uint64_t below(uint64_t n) { return rng() % n; }

static uint8_t key_bytes[KEYS][ENGINE_KEY_MAX];
static struct slice keys[KEYS]; /* ascending */

static int by_key(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static void make_keys(void)
{
    for (size_t i = 0; i < KEYS; i++) {
        size_t n = (size_t)sprintf((char *)key_bytes[i], "%c%05zu", "EMMMSX"[i % 6], i * 7919 % 99991);
        if (i % 50 == 0) /* long ones, and ones with zeros */
            for (size_t more = below(ENGINE_KEY_MAX - 10); more; more--)
                key_bytes[i][n++] = (uint8_t)below(3);
        keys[i] = slice_of(key_bytes[i], n);
    }
    qsort(keys, KEYS, sizeof keys[0], by_key);
}

/* What the directory must hold: offset 0 is absent. */
struct model {
    uint64_t offset[KEYS];
};
static uint64_t last_offset;

static struct keydir_place place_of(uint64_t offset)
{
    return (struct keydir_place){offset, (uint32_t)(offset % 7 + 1), (uint32_t)(offset * 3), RECORD_PUT};
}

/* A random edit: the changes that fall to keys, or one range. */
struct source {
    struct model *model;
    size_t at, to;
    unsigned percent;
    bool range, told;
    uint64_t drops;
};

static enum result next(void *arg, struct keydir_change *out)
{
    struct source *s = arg;
    if (s->range) {
        if (s->told || s->at == s->to)
            return RES_NOT_FOUND;
        s->told = true;
        *out = (struct keydir_change){.kind = KEYDIR_REMOVE_RANGE, .key = keys[s->at], .end = keys[s->to]};
        for (size_t i = s->at; i < s->to; i++) {
            s->drops += s->model->offset[i] != 0;
            s->model->offset[i] = 0;
        }
        return RES_OK;
    }
    while (s->at < s->to && below(100) >= s->percent)
        s->at++;
    if (s->at >= s->to)
        return RES_NOT_FOUND;
    uint64_t *have = &s->model->offset[s->at], fresh = ++last_offset;
    *out = (struct keydir_change){
        .kind = (enum keydir_change_kind)below(4), .key = keys[s->at++], .place = place_of(fresh)};
    bool odd = *have % 2; /* those yield */
    switch (out->kind) {
    case KEYDIR_PUT:
        s->drops += *have != 0;
        *have = fresh;
        break;
    case KEYDIR_REMOVE:
        s->drops += *have != 0;
        *have = 0;
        break;
    case KEYDIR_MOVE:
        s->drops++; /* the old place or the new one */
        if (odd)
            *have = fresh;
        break;
    default:
        s->drops += odd;
        if (odd)
            *have = 0;
    }
    return RES_OK;
}

static uint64_t drops;
static void dropped(void *arg, size_t key_len, const struct keydir_place *place)
{
    (void)arg, (void)key_len;
    drops += place->offset != 0;
}
static bool yields(void *arg, const struct keydir_place *place)
{
    (void)arg;
    return place->offset % 2;
}

static bool stands_at(const struct keydir_cursor *c, const struct model *m, size_t i)
{
    struct keydir_place want = place_of(m->offset[i]);
    return slice_eq(c->key, keys[i]) && c->place.offset == want.offset && c->place.file == want.file &&
           c->place.value == want.value && c->place.kind == want.kind;
}

static bool same(const struct keydir_node *root, const struct model *m)
{
    struct keydir_cursor c;
    uint64_t count = 0;
    keydir_cursor_init(&c, root);
    bool good = true, at = keydir_seek(&c, slice_of(NULL, 0));
    for (size_t i = 0; i < KEYS && good; i++) {
        struct keydir_place place;
        bool found = keydir_find(root, keys[i], &place);
        good = found == (m->offset[i] != 0) && (!found || place.offset == m->offset[i]);
        if (m->offset[i]) {
            good = good && at && stands_at(&c, m, i);
            at = keydir_next(&c);
            count++;
        }
    }
    good = good && !at && keydir_count(root) == count;
    at = keydir_seek_last(&c, slice_of(NULL, 0));
    for (size_t i = KEYS; i-- > 0 && good;)
        if (m->offset[i]) {
            good = at && stands_at(&c, m, i);
            at = keydir_prev(&c);
        }
    for (int n = 0; n < 200 && good; n++) { /* seeks, and turns behind them */
        size_t i = below(KEYS), up = i, down = i;
        while (up < KEYS && !m->offset[up])
            up++;
        while (down > 0 && !m->offset[down - 1])
            down--;
        at = keydir_seek(&c, keys[i]);
        good = at == (up < KEYS) && (!at || stands_at(&c, m, up));
        if (good && at && down > 0)
            good = keydir_prev(&c) && stands_at(&c, m, down - 1);
        at = keydir_seek_last(&c, keys[i]);
        good = good && at == (down > 0) && (!at || stands_at(&c, m, down - 1));
    }
    return good;
}

static struct keydir_node *edit(struct keydir_node *root, struct model *m, struct keydir_memory *memory)
{
    struct source s = {.model = m, .at = below(KEYS), .percent = 1 + (unsigned)below(90), .range = below(4) == 0};
    s.to = s.at + below(KEYS - s.at);
    if (below(3) == 0 && !s.range)
        s.at = 0, s.to = KEYS;
    struct keydir_changes changes = {.next = next, .dropped = dropped, .yields = yields, .arg = &s};
    struct keydir_node *out;
    drops = 0;
    tap_require(keydir_edit(root, &changes, memory, &out) == RES_OK);
    tap_eq_u64(drops, s.drops);
    return out;
}

static void random_edits_agree_with_an_array(void)
{
    static struct model models[8];
    struct keydir_node *roots[8] = {NULL};
    struct keydir_memory memory = {0};
    rng_state = 11;
    for (int step = 0; step < (tap_long() ? 3000 : 300); step++) {
        size_t from = below(8), to = below(8); /* any state leads to others */
        struct model m = models[from];
        struct keydir_node *next_root = edit(roots[from], &m, &memory);
        keydir_unref(roots[to], &memory);
        roots[to] = next_root;
        models[to] = m;
        if (!tap_check(same(roots[to], &models[to]) && same(roots[from], &models[from]))) {
            tap_diag("step %d", step);
            break;
        }
    }
    for (int i = 0; i < 8; i++)
        keydir_unref(roots[i], &memory);
    tap_eq_u64(memory.bytes, 0);
}

static enum result fail_in_the_middle(void *arg, struct keydir_change *out)
{
    struct source *s = arg;
    return s->at > KEYS / 2 ? RES_IO : next(arg, out);
}

static void an_edit_that_fails_changes_nothing(void)
{
    struct keydir_memory memory = {0};
    static struct model m, scratch;
    rng_state = 12;
    struct keydir_node *root = NULL, *out;
    for (int i = 0; i < 5; i++) {
        struct keydir_node *more = edit(root, &m, &memory);
        keydir_unref(root, &memory);
        root = more;
    }
    uint64_t before = memory.bytes;
    scratch = m;
    struct source s = {.model = &scratch, .to = KEYS, .percent = 40};
    struct keydir_changes changes = {.next = fail_in_the_middle, .yields = yields, .arg = &s};
    tap_check(keydir_edit(root, &changes, &memory, &out) == RES_IO && out == NULL);
    tap_eq_u64(memory.bytes, before);
    tap_check(same(root, &m));
    keydir_unref(root, &memory);
    tap_eq_u64(memory.bytes, 0);
}

/* ---- memory ---- */

static uint64_t usable(const struct keydir_node *n)
{
    uint64_t bytes = malloc_usable_size((void *)(uintptr_t)n);
    for (int i = 0; n->level && i < n->count; i++)
        bytes += usable(keydir_child(n, i));
    return bytes;
}

#define MANY 200000
#define KEY_LEN 27 /* M, keyspace, slot, hash, and 16 bytes of the client's */
struct crowd {
    uint64_t name[MANY];
    uint8_t key[KEY_LEN];
    size_t at, step;
};

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static enum result next_of_crowd(void *arg, struct keydir_change *out)
{
    struct crowd *c = arg;
    if (c->at >= MANY)
        return RES_NOT_FOUND;
    uint64_t name = c->name[c->at], order = __builtin_bswap64(name), rest = hash_mix(name);
    c->at += c->step;
    memcpy(c->key, "M\0\0\0\1", 5);
    memcpy(c->key + 5, &order, 6); /* slot and hash */
    memcpy(c->key + 11, &rest, 8);
    memcpy(c->key + 19, &rest, 8);
    *out = (struct keydir_change){.kind = KEYDIR_PUT, .key = slice_of(c->key, KEY_LEN), .place = place_of(name >> 30)};
    return RES_OK;
}

static void a_key_takes_at_most_40_bytes_more_than_itself(void)
{
    struct keydir_memory memory = {0};
    static struct crowd c;
    struct keydir_node *root = NULL;
    rng_state = 13;
    for (size_t i = 0; i < MANY; i++)
        c.name[i] = rng();
    qsort(c.name, MANY, sizeof c.name[0], by_number);
    for (size_t first = 0; first < 10; first++) { /* in ten runs, as they come from memtables */
        struct keydir_changes changes = {.next = next_of_crowd, .arg = &c};
        struct keydir_node *out;
        c.at = first;
        c.step = 10;
        tap_require(keydir_edit(root, &changes, &memory, &out) == RES_OK);
        keydir_unref(root, &memory);
        root = out;
    }
    uint64_t count = keydir_count(root), bytes = usable(root);
    tap_eq_u64(count, MANY);
    double beyond = (double)bytes / (double)count - KEY_LEN;
    tap_diag("%.1f bytes a key beyond the key of %d bytes, the allocator's rounding included", beyond, KEY_LEN);
    tap_check(beyond <= 40);
    keydir_unref(root, &memory);
    tap_eq_u64(memory.bytes, 0);
}

int main(void)
{
    make_keys();
    tap_test(random_edits_agree_with_an_array);
    tap_test(an_edit_that_fails_changes_nothing);
    tap_test(a_key_takes_at_most_40_bytes_more_than_itself);
    return tap_done();
}
