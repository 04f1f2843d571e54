/* {{name}}: so many points for each order of the customer within the last hour. */
#include "onhand_fraud.h"

/* Number of the reason; plugin.toml has its text. */
enum { REASON_ORDERS = 1 };

static int64_t points = 100;
static int64_t review = 300;

const char *onhand_init(const char *config, size_t bytes)
{
    if (!onhand_int(config, bytes, "points", 0, 1000, &points))
        return "points is outside 0..=1000";
    if (!onhand_int(config, bytes, "review", 1, 1000, &review))
        return "review is outside 1..=1000";
    return NULL;
}

struct onhand_score onhand_score(const struct onhand_header *header,
                                 const struct onhand_line *lines)
{
    (void)lines;
    int64_t sum = header->customer_orders_hour * points;
    sum = sum > 1000 ? 1000 : sum;
    bool suspicious = sum >= review;
    return (struct onhand_score){(uint32_t)sum, suspicious ? ONHAND_REVIEW : ONHAND_ALLOW,
                                 suspicious ? REASON_ORDERS : 0};
}
