/* Positions on earth as 52-bit geohashes, the score that GEOADD gives a member, and what follows from them: distances and
 * the squares that cover a circle or a box.
 *
 * A hash interleaves longitude and latitude, each a fraction of its range with `step` binary digits, so that a square of
 * the map is a range of scores. Latitudes end at 85.05112878 degrees, those of the Mercator projection (EPSG:3857).
 * Clients see decimal digits of what is computed here: each formula, and the order of its operations, is Redis'. */
#ifndef VARVE_CMD_GEO_MATH_H
#define VARVE_CMD_GEO_MATH_H

#include <stdbool.h>
#include <stdint.h>

#define GEO_STEPS 26 /* 52 bits */
#define GEO_LONGITUDE_MAX 180.0
#define GEO_LATITUDE_MAX 85.05112878

struct geo_point {
    double longitude, latitude;
};

struct geo_hash {
    uint64_t bits;
    uint8_t step; /* 0: none */
};

static inline bool geo_valid(struct geo_point p)
{
    return p.longitude >= -GEO_LONGITUDE_MAX && p.longitude <= GEO_LONGITUDE_MAX && p.latitude >= -GEO_LATITUDE_MAX &&
           p.latitude <= GEO_LATITUDE_MAX;
}
/* The score of a valid point. */
uint64_t geo_encode(struct geo_point p);
/* The middle of the square that a score stands for, whoever wrote it. */
struct geo_point geo_decode(double score);
/* The first eleven characters of the standard's geohash, whose latitudes end at 90 degrees. */
void geo_text(struct geo_point p, char out[11]);
/* Metres along a great circle. */
double geo_distance(struct geo_point a, struct geo_point b);

struct geo_shape {
    struct geo_point centre;
    bool box;
    double radius, width, height; /* in units */
    double unit;                  /* metres */
};
/* Whether a point lies in the shape, and how far from the centre, in metres. */
bool geo_within(const struct geo_shape *shape, struct geo_point p, double *distance);
/* The squares that cover a shape, as ranges of scores [min, max): at most nine, in the order Redis looks at them. */
struct geo_range {
    double min, max;
};
#define GEO_RANGES 9
unsigned geo_cover(const struct geo_shape *shape, struct geo_range out[GEO_RANGES]);

#endif
