/* llhttp (https://llhttp.org), compiled from the sources that Debian's node-llhttp installs: its state machine, in the strict
 * form. llhttp_api.c is the rest of it; the two declare their callbacks differently and cannot be one unit. */
#define LLHTTP_STRICT_MODE 1
#include <llhttp.c>
