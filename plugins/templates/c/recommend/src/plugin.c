/* {{name}}: what was bought together most often. */
#include "onhand_recommend.h"

static int64_t together_least = 2;

const char *onhand_init(const char *config, size_t bytes)
{
    if (!onhand_int(config, bytes, "together_least", 1, 1000000, &together_least))
        return "together_least is outside 1..=1000000";
    return NULL;
}

static bool has(const uint64_t *items, uint32_t count, uint64_t sku)
{
    for (uint32_t at = 0; at < count; at++)
        if (items[at] == sku)
            return true;
    return false;
}

void onhand_recommend(const struct onhand_request *request, const uint64_t *items,
                      const struct onhand_candidate *candidates, struct onhand_picks *picks)
{
    for (uint32_t at = 0; at < request->candidate_count; at++) {
        const struct onhand_candidate *one = &candidates[at];
        if (one->available > 0 && one->together >= together_least
            && !has(items, request->item_count, one->sku))
            onhand_offer(picks, one->sku, one->together);
    }
}
