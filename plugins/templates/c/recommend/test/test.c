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

static const char CONFIG[] = "{\"together_least\": 3}";

int main(void)
{
    CHECK(onhand_init("{\"together_least\": 0}", 21) != NULL);
    CHECK(onhand_init(CONFIG, strlen(CONFIG)) == NULL);

    struct onhand_request requests[1] = {{.item_count = 1, .candidate_count = 6, .limit = 2}};
    uint64_t items[1] = {7};
    struct onhand_candidate candidates[6] = {
        {.sku = 1, .together = 4, .available = 1}, {.sku = 2, .together = 9, .available = 0},
        {.sku = 7, .together = 9, .available = 1}, {.sku = 3, .together = 2, .available = 1},
        {.sku = 4, .together = 3, .available = 1}, {.sku = 4, .together = 5, .available = 1}};
    struct onhand_list answer = onhand_recommend_batch(requests, 1, items, candidates);
    const struct onhand_pick *picks = answer.entries;
    CHECK(answer.count == 2);
    CHECK(picks[0].sku == 4 && picks[0].score == 5);
    CHECK(picks[1].sku == 1 && picks[1].score == 4);
    puts("ok");
    return 0;
}
