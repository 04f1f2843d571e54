/* Tests of {{name}} without WebAssembly: see README.md for the command. */
#include "../src/plugin.c"

#include <string.h>

#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            return 1; \
        } \
    } while (0)

static const char CONFIG[] = "{\"percent\": 20, \"units\": 5}";

int main(void)
{
    CHECK(onhand_init("{\"percent\": 101}", 16) != NULL);
    CHECK(onhand_init(CONFIG, strlen(CONFIG)) == NULL);

    /* Two orders: five units and four, then five. */
    struct onhand_header headers[2] = {{.currency = 978, .line_count = 2},
                                       {.currency = 978, .first_line = 2, .line_count = 1}};
    struct onhand_line lines[3] = {{.sku = 1, .quantity = 5, .unit = 100},
                                   {.sku = 2, .quantity = 4, .unit = 100},
                                   {.sku = 3, .quantity = 5, .unit = 33}};
    struct onhand_list answer = onhand_price_batch(headers, 2, lines, NULL);
    const struct onhand_adjustment *off = answer.entries;
    CHECK(answer.count == 2);
    CHECK(off[0].kind == 0 && off[0].at == 0 && off[0].amount == 100 && off[0].code == RULE_UNITS);
    CHECK(off[1].kind == 0 && off[1].at == 2 && off[1].amount == 33);
    puts("ok");
    return 0;
}
