/* Makes docs/commands.md from the declarations of the commands (src/cmd). `make commands-docs` writes it; a test compares
 * what is committed with what comes out. */
#include "cmd/reference.h"
#include "cmd/table.h"

int main(void)
{
    command_table_init();
    command_reference_write(stdout);
    return 0;
}
