/* varved, the server: arguments, signals, exit status.
 *
 * The main thread serves nobody: it waits for a reason to end. SIGTERM, SIGINT and SHUTDOWN end cleanly (status 0) with
 * all that was acknowledged on disk; a second signal ends at once. When the log cannot be written any more while clients
 * rely on it (appendfsync always), the last line says so and the status is 1. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/settings.h"
#include "config.h"
#include "server/server.h"

static void at_once(int number)
{
    (void)number;
    static const char text[] = "second signal, ending at once\n";
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(1);
}

/* SIGTERM and SIGINT come as readable bytes; threads started later inherit the mask. */
static int signals_to_fd(sigset_t *set)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    return signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void signals_end_at_once(const sigset_t *set)
{
    signal(SIGTERM, at_once);
    signal(SIGINT, at_once);
    pthread_sigmask(SIG_UNBLOCK, set, NULL);
}

static enum result write_pid(const char *path, struct errmsg *msg)
{
    if (*path == 0)
        return RES_OK;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return errmsg_set(msg, result_from_errno(error), "cannot write the pidfile %s: %s", path, strerror(error));
    }
    close(fd);
    return RES_OK;
}

static int complain(const struct errmsg *msg)
{
    fprintf(stderr, "varved: %s\n", msg->text);
    return 1;
}

static int serve(const struct settings *set)
{
    struct errmsg msg = {""};
    sigset_t signals;
    struct server *server = NULL;
    if (log_configure(set->logfile, (enum log_level)set->loglevel, (enum log_format)set->log_format, &msg) != RES_OK)
        return complain(&msg);
    int signal_fd = signals_to_fd(&signals);
    enum result res = write_pid(set->pidfile, &msg);
    if (res == RES_OK)
        res = server_open(&server, &msg);
    if (res != RES_OK) {
        log_warning("cannot start: %s", msg.text);
        if (server != NULL)
            (void)!server_close(server);
        return 1;
    }
    log_notice("varved %s serves port %d, data in %s, process %d", PACKAGE_VERSION, (int)set->port, set->dir,
               (int)getpid());
    server_notify("READY=1");
    enum server_event event = SERVER_TICK;
    while (event == SERVER_TICK)
        event = server_wait(server, signal_fd);
    server_notify("STOPPING=1");
    signals_end_at_once(&signals);
    char why[600] = "";
    if (event == SERVER_FAILED)
        snprintf(why, sizeof why, "%s", server_failure(server));
    res = server_close(server);
    if (*set->pidfile)
        unlink(set->pidfile);
    if (event == SERVER_FAILED) {
        log_warning("ended: writes can no longer be made durable: %s", why);
        return 1;
    }
    if (res != RES_OK) {
        log_warning("ended, but the data could not be closed cleanly: %s", result_text(res));
        return 1;
    }
    log_notice("ended cleanly");
    return 0;
}

int main(int argc, char **argv)
{
    enum settings_action action;
    struct errmsg msg = {""};
    if (settings_load(argc, argv, &action, &msg) != RES_OK)
        return complain(&msg);
    switch (action) {
    case SETTINGS_HELP:
        settings_print_help(stdout, "varved");
        return 0;
    case SETTINGS_VERSION:
        printf("varved %s\n", PACKAGE_VERSION);
        return 0;
    case SETTINGS_CHECK:
        printf("the configuration is good\n");
        return 0;
    case SETTINGS_START:
        break;
    }
    const struct settings *set = settings_hold();
    int status = serve(set);
    settings_release(set);
    settings_unload();
    return status;
}
