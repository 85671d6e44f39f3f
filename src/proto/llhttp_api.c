/* See llhttp_machine.c. */
#define LLHTTP_STRICT_MODE 1
#include <api.c>
#include <http.c>
