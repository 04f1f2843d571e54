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

static const char CONFIG[] = "{\"points\": 200, \"review\": 400}";

int main(void)
{
    CHECK(onhand_init("{\"review\": 0}", 13) != NULL);
    CHECK(onhand_init(CONFIG, strlen(CONFIG)) == NULL);

    struct onhand_header headers[3] = {
        {.customer_orders_hour = 1, .line_count = 1},
        {.customer_orders_hour = 2, .first_line = 1, .line_count = 1},
        {.customer_orders_hour = UINT32_MAX, .first_line = 2, .line_count = 1}};
    struct onhand_line lines[3] = {{1, 1, 100}, {1, 1, 100}, {1, 1, 100}};
    struct onhand_list answer = onhand_score_batch(headers, 3, lines);
    const struct onhand_score *scores = answer.entries;
    CHECK(answer.count == 3);
    CHECK(scores[0].points == 200 && scores[0].verdict == ONHAND_ALLOW && scores[0].code == 0);
    CHECK(scores[1].points == 400 && scores[1].verdict == ONHAND_REVIEW);
    CHECK(scores[1].code == REASON_ORDERS);
    CHECK(scores[2].points == 1000);
    puts("ok");
    return 0;
}
