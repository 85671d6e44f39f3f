/* What must hold for mailboxes: every message comes once, and those of one sender in the order they were sent. */
#include "net/mailbox.h"
#include "os/thread.h"
#include "tests/lib/tap.h"

#define SENDERS 4
#define MESSAGES 20000

struct message {
    struct mail mail;
    int sender, number;
};
static struct mailbox box;
static struct message messages[SENDERS][MESSAGES];

static void send_all(void *arg)
{
    struct message *mine = arg;
    for (int i = 0; i < MESSAGES; i++)
        mailbox_put(&box, &mine[i].mail);
}

static void every_message_comes_once_and_in_order(void)
{
    struct os_thread threads[SENDERS];
    int next[SENDERS] = {0}, got = 0;
    for (int s = 0; s < SENDERS; s++) {
        for (int i = 0; i < MESSAGES; i++)
            messages[s][i] = (struct message){.sender = s, .number = i};
        tap_require(os_thread_start(&threads[s], "sender", send_all, messages[s]) == RES_OK);
    }
    while (got < SENDERS * MESSAGES) {
        struct mail *following;
        for (struct mail *m = mailbox_take(&box); m != NULL; m = following) {
            following = m->next;
            struct message *msg = (struct message *)m;
            if (!tap_check(msg->number == next[msg->sender]))
                return;
            next[msg->sender]++;
            got++;
        }
    }
    tap_check(mailbox_empty(&box));
    for (int s = 0; s < SENDERS; s++)
        os_thread_join(&threads[s]);
}

int main(void)
{
    tap_test(every_message_comes_once_and_in_order);
    return tap_done();
}
