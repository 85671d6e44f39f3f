/* The environment in memory: files and directories that remember what was synced, so that a test can cut the power at
 * any moment and look at what a disk might hold; failures on demand; a clock and a random generator that obey.
 *
 * Every change is numbered from 1. A write with ENV_DSYNC counts as two, the write and its becoming durable, so that
 * there is a moment in between. What survives a crash:
 *   - of a file: what was synced, and any part of what was not. A file's sync does not make its name durable;
 *   - of a directory: the entries at its last sync_dir, and any of the later changes that leave out none of the
 *     earlier changes of the same names. A rename happens whole or not at all.
 * After a failed sync the unsynced bytes can still be read, but no later sync makes them durable, as on Linux.
 *
 * Paths may be absolute or relative (the same here), without "..". Any thread, any function. */
#ifndef VARVE_OS_ENV_MEMORY_H
#define VARVE_OS_ENV_MEMORY_H

#include "os/env.h"
#include "os/env_fault.h"

enum env_memory_flags {
    ENV_MEMORY_PLAIN = 0,   /* only files: nothing about durability is kept */
    ENV_MEMORY_CRASH = 1,   /* a crash image can be made of the present */
    ENV_MEMORY_HISTORY = 3, /* and of every earlier moment; keeps every byte ever written */
};

struct env *env_memory_new(uint64_t seed, int flags);
void env_memory_free(struct env *env);           /* files still open are closed */
uint64_t env_memory_open_files(struct env *env); /* for tests: 0 unless somebody leaked one */
struct env_faults *env_memory_faults(struct env *env);

/* ---- crashes ---- */
uint64_t env_memory_changes(struct env *env); /* the number of the last change */
#define ENV_MEMORY_NOW UINT64_MAX             /* as k: after the last change, whoever makes more meanwhile */
/* What the disk may hold when the power fails after change `k` (<= env_memory_changes(), or ENV_MEMORY_NOW): a new
 * environment with the same flags, clock and settings (no faults), in which nothing is unsynced. `seed` chooses: 0 all is
 * there (the process died, the machine did not), 1 nothing unsynced is there, any other a mixture. The same k and seed of
 * the same history give the same image. NULL when memory is short. */
struct env *env_memory_crash(struct env *env, uint64_t k, uint64_t seed);
/* One line about change `k`, for a failing test's message. */
void env_memory_describe(struct env *env, uint64_t k, char *out, size_t room);

/* ---- damage ---- */
enum result env_memory_flip(struct env *env, const char *path, uint64_t offset, unsigned bit) MUST_CHECK;

/* ---- clock: starts at 2026-01-01 and 1 s ---- */
void env_memory_set_clock(struct env *env, uint64_t real_ms, uint64_t mono_ns);
void env_memory_advance(struct env *env, uint64_t ns); /* both clocks */
/* Both clocks run on with this one from now on (a scheduler's virtual time); NULL: they stand. */
void env_memory_follow(struct env *env, uint64_t (*now_ns)(void));

/* ---- page cache and space ---- */
/* Reads with ENV_NOWAIT answer RES_WOULD_BLOCK for this share of all pages (of 4 KiB), until a page has been read once
 * by one that may wait. 0 at the start: all is warm. */
void env_memory_set_cold(struct env *env, unsigned permille);
void env_memory_chill(struct env *env); /* forgets which pages have been read */
/* All files together may have this many bytes; what is beyond fails with RES_NO_SPACE (a write after the part that
 * fits). UINT64_MAX at the start. A limit below what is used fails every growth. */
void env_memory_set_space(struct env *env, uint64_t limit);
uint64_t env_memory_used(struct env *env);

#endif
