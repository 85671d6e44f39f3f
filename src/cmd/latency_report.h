/* LATENCY GRAPH and DOCTOR: samples as text for people. */
#ifndef VARVE_CMD_LATENCY_REPORT_H
#define VARVE_CMD_LATENCY_REPORT_H

#include "base/buf.h"
#include "exec/shard.h"

enum result latency_graph_text(const struct latency_series *s, uint32_t now_s, struct buf *out) MUST_CHECK;
enum result latency_doctor_text(const struct latency_series *series, size_t count, int64_t threshold_ms,
                                struct buf *out) MUST_CHECK;

#endif
