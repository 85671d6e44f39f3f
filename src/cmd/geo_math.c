/* Geohashes, distances, covers: see geo_math.h. */
#include "cmd/geo_math.h"

#include <math.h>

#define EARTH_RADIUS 6372797.560856 /* metres, the quadratic mean of WGS-84 */
#define MERCATOR_MAX 20037726.37
#define ODD_BITS 0xaaaaaaaaaaaaaaaau
#define EVEN_BITS 0x5555555555555555u

static double radians(double degrees) { return degrees * (M_PI / 180.0); }
static double degrees(double angle) { return angle / (M_PI / 180.0); }

/* ---- hashes ---- */

/* Bit i of v becomes bit 2i. */
static uint64_t spread(uint32_t v)
{
    uint64_t x = v;
    x = (x | x << 16) & 0x0000ffff0000ffffu;
    x = (x | x << 8) & 0x00ff00ff00ff00ffu;
    x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fu;
    x = (x | x << 2) & 0x3333333333333333u;
    return (x | x << 1) & EVEN_BITS;
}

static uint32_t gather_even(uint64_t x)
{
    x &= EVEN_BITS;
    x = (x | x >> 1) & 0x3333333333333333u;
    x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0fu;
    x = (x | x >> 4) & 0x00ff00ff00ff00ffu;
    x = (x | x >> 8) & 0x0000ffff0000ffffu;
    return (uint32_t)(x | x >> 16);
}

static struct geo_hash hash_at(struct geo_point p, double latitude_max, unsigned step)
{
    double north = (p.latitude - -latitude_max) / (latitude_max - -latitude_max);
    double east = (p.longitude - -GEO_LONGITUDE_MAX) / (GEO_LONGITUDE_MAX - -GEO_LONGITUDE_MAX);
    double cells = (double)(UINT64_C(1) << step);
    return (struct geo_hash){spread((uint32_t)(north * cells)) | spread((uint32_t)(east * cells)) << 1, (uint8_t)step};
}

struct area {
    struct geo_point min, max;
};

static struct area area_of(struct geo_hash h)
{
    double cells = (double)(UINT64_C(1) << h.step);
    double height = GEO_LATITUDE_MAX - -GEO_LATITUDE_MAX, width = GEO_LONGITUDE_MAX - -GEO_LONGITUDE_MAX;
    uint32_t north = gather_even(h.bits), east = gather_even(h.bits >> 1);
    struct area a;
    a.min.latitude = -GEO_LATITUDE_MAX + (north * 1.0 / cells) * height;
    a.max.latitude = -GEO_LATITUDE_MAX + ((north + 1) * 1.0 / cells) * height;
    a.min.longitude = -GEO_LONGITUDE_MAX + (east * 1.0 / cells) * width;
    a.max.longitude = -GEO_LONGITUDE_MAX + ((east + 1) * 1.0 / cells) * width;
    return a;
}

uint64_t geo_encode(struct geo_point p) { return hash_at(p, GEO_LATITUDE_MAX, GEO_STEPS).bits; }

static double clamp(double v, double limit) { return v > limit ? limit : v < -limit ? -limit : v; }

struct geo_point geo_decode(double score)
{
    uint64_t bits = 0; /* what GEOADD has not written is as the machine converts it */
    if (score >= 0 && score < 0x1p64)
        bits = (uint64_t)score;
    else if (score < 0 && score >= -0x1p63)
        bits = (uint64_t)(int64_t)score;
    struct area a = area_of((struct geo_hash){bits, GEO_STEPS});
    return (struct geo_point){clamp((a.min.longitude + a.max.longitude) / 2, GEO_LONGITUDE_MAX),
                              clamp((a.min.latitude + a.max.latitude) / 2, GEO_LATITUDE_MAX)};
}

void geo_text(struct geo_point p, char out[11])
{
    static const char alphabet[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    uint64_t bits = hash_at(p, 90, GEO_STEPS).bits;
    for (unsigned i = 0; i < 10; i++)
        out[i] = alphabet[bits >> (52 - (i + 1) * 5) & 31];
    out[10] = alphabet[0]; /* 52 bits are ten characters and two bits, which are not shown */
}

/* ---- distances ---- */

static double along_meridian(double a, double b) { return EARTH_RADIUS * fabs(radians(b) - radians(a)); }

/* The haversine formula. */
double geo_distance(struct geo_point a, struct geo_point b)
{
    double east_a = radians(a.longitude), east_b = radians(b.longitude);
    double v = sin((east_b - east_a) / 2);
    if (v == 0.0)
        return along_meridian(a.latitude, b.latitude);
    double north_a = radians(a.latitude), north_b = radians(b.latitude);
    double u = sin((north_b - north_a) / 2);
    double h = u * u + cos(north_a) * cos(north_b) * v * v;
    return 2.0 * EARTH_RADIUS * asin(sqrt(h));
}

bool geo_within(const struct geo_shape *s, struct geo_point p, double *distance)
{
    if (!s->box) {
        *distance = geo_distance(s->centre, p);
        return !(*distance > s->radius * s->unit);
    }
    if (along_meridian(p.latitude, s->centre.latitude) > s->height * s->unit / 2)
        return false;
    struct geo_point beside = {s->centre.longitude, p.latitude};
    if (geo_distance(p, beside) > s->width * s->unit / 2)
        return false;
    *distance = geo_distance(s->centre, p);
    return true;
}

/* ---- covers ---- */

/* How many steps the squares should have that a circle of this radius fits into three by three of. */
static unsigned steps_for(double metres, double latitude)
{
    int step = 1;
    if (metres == 0)
        return GEO_STEPS;
    while (metres < MERCATOR_MAX) {
        metres *= 2;
        step++;
    }
    step -= 2;
    if (latitude > 66 || latitude < -66) { /* degrees of longitude get short */
        step--;
        if (latitude > 80 || latitude < -80)
            step--;
    }
    return step < 1 ? 1 : step > GEO_STEPS ? GEO_STEPS : (unsigned)step;
}

static struct area bounding_box(const struct geo_shape *s)
{
    double height = s->unit * (s->box ? s->height / 2 : s->radius);
    double width = s->unit * (s->box ? s->width / 2 : s->radius);
    double north = degrees(height / EARTH_RADIUS), latitude = s->centre.latitude, longitude = s->centre.longitude;
    /* the wider of the two ends, which is that nearer to the pole */
    double end = latitude < 0 ? latitude - north : latitude + north;
    double east = degrees(width / EARTH_RADIUS / cos(radians(end)));
    return (struct area){{longitude - east, latitude - north}, {longitude + east, latitude + north}};
}

/* The hash one square further in the bits of `mask`, by 1 or -1. */
static uint64_t move(struct geo_hash h, uint64_t mask, int by)
{
    uint64_t moving = h.bits & mask, other = h.bits & ~mask, fill = ~mask >> (64 - h.step * 2);
    if (by > 0)
        moving += fill + 1;
    else if (by < 0)
        moving = (moving | fill) - (fill + 1);
    return (moving & mask >> (64 - h.step * 2)) | other;
}

static struct geo_hash neighbour(struct geo_hash h, int east, int north)
{
    if (east)
        h.bits = move(h, ODD_BITS, east);
    if (north)
        h.bits = move(h, EVEN_BITS, north);
    return h;
}

/* Whether the squares around do not reach as far as the shape. */
static bool too_small(struct geo_hash h, const struct area *box)
{
    return area_of(neighbour(h, 0, 1)).max.latitude < box->max.latitude ||
           area_of(neighbour(h, 0, -1)).min.latitude > box->min.latitude ||
           area_of(neighbour(h, 1, 0)).max.longitude < box->max.longitude ||
           area_of(neighbour(h, -1, 0)).min.longitude > box->min.longitude;
}

static uint64_t align(struct geo_hash h, uint64_t bits) { return bits << (52 - h.step * 2); }

unsigned geo_cover(const struct geo_shape *s, struct geo_range out[GEO_RANGES])
{
    static const int8_t around[GEO_RANGES][2] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},  {-1, 0},
                                                 {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
    struct area box = bounding_box(s);
    double half_diagonal = sqrt((s->width / 2) * (s->width / 2) + (s->height / 2) * (s->height / 2));
    double metres = (s->box ? half_diagonal : s->radius) * s->unit;
    unsigned steps = steps_for(metres, s->centre.latitude), n = 0;
    struct geo_hash centre = hash_at(s->centre, GEO_LATITUDE_MAX, steps), last = {0, 0};
    if (steps > 1 && too_small(centre, &box))
        centre = hash_at(s->centre, GEO_LATITUDE_MAX, --steps);
    struct area area = area_of(centre);
    for (unsigned i = 0; i < GEO_RANGES; i++) {
        int east = around[i][0], north = around[i][1];
        if (steps >= 2 && ((north < 0 && area.min.latitude < box.min.latitude) ||
                           (north > 0 && area.max.latitude > box.max.latitude) ||
                           (east < 0 && area.min.longitude < box.min.longitude) ||
                           (east > 0 && area.max.longitude > box.max.longitude)))
            continue; /* the middle square reaches far enough */
        struct geo_hash h = neighbour(centre, east, north);
        if (last.step && h.bits == last.bits) /* large circles meet themselves */
            continue;
        out[n++] = (struct geo_range){(double)align(h, h.bits), (double)align(h, h.bits + 1)};
        if (i)
            last = h;
    }
    return n;
}
