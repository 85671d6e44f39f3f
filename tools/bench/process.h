/* What the kernel knows of this process and its files: CPU, memory, bytes written; and a memory limit for it. */
#ifndef VARVE_TOOLS_BENCH_PROCESS_H
#define VARVE_TOOLS_BENCH_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

struct process_io {
    uint64_t written;        /* bytes passed to write calls */
    uint64_t device_written; /* bytes that went, or will go, to the device */
    uint64_t device_read;
};
struct process_io process_io(void);
double process_cpu(void);      /* seconds, user and system, all threads */
void process_peak_reset(void); /* the peak of resident memory starts anew */
uint64_t process_peak_megabytes(void);

uint64_t directory_bytes(const char *dir);  /* allocated on disk, folders below included */
void directory_drop_cache(const char *dir); /* its files leave the page cache */
void directory_remake(const char *dir);     /* empty, and on disk */

/* Puts this process into a new cgroup (version 1) whose memory, page cache included, is limited. Dies when there is no
 * such controller or no permission. The group outlives the process: whoever waited for that removes it. */
void process_limit_memory(uint64_t bytes);
void process_limit_remove(pid_t ended);

#endif
