/* {{name}}: so many per cent off each line of enough units. */
#include "onhand_pricing.h"

/* Number of the rule; plugin.toml has its text. */
enum { RULE_UNITS = 1 };

static int64_t percent = 10;
static int64_t units = 10;

const char *onhand_init(const char *config, size_t bytes)
{
    if (!onhand_int(config, bytes, "percent", 0, 100, &percent))
        return "percent is outside 0..=100";
    if (!onhand_int(config, bytes, "units", 1, 1000000000, &units))
        return "units is outside 1..=1000000000";
    return NULL;
}

uint32_t onhand_price(struct onhand_order *order)
{
    for (uint32_t at = 0; at < order->header->line_count; at++) {
        const struct onhand_line *line = &order->lines[at];
        if (line->quantity >= units)
            onhand_off_line(order, at, line->unit * line->quantity / 100 * percent
                            + line->unit * line->quantity % 100 * percent / 100, RULE_UNITS);
    }
    return 0;
}
