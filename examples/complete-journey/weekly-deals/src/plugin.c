/* weekly-deals: what the paper of the week takes off, by store, product, quantity and list price,
 * and coupons that are good for one product.
 *
 * The configuration is {"deals": TEXT}. TEXT has the coupons first, `c id,product,value;` each, by
 * rising id; then the deals of each store, stores by rising number: `s store;` and behind it
 * `product,quantity,unit,off;` for each deal, in rising order. Prices and amounts are in cents; a
 * deal is for that many units at that list price, and takes its amount off the line. */
#include "onhand_pricing.h"

enum { RULE_DEAL = 1, RULE_COUPON = 2 };
enum { DEALS_MAX = 8192, COUPONS_MAX = 2048, FIELDS = 5 };

/* Store, product, quantity, list price, amount. */
struct entry {
    uint64_t field[FIELDS];
};

static struct entry deals[DEALS_MAX];
static size_t deal_count;
/* Coupon, product, amount. */
static struct entry coupons[COUPONS_MAX];
static size_t coupon_count;

/* Compares the first fields of two entries. */
static int compare(const struct entry *a, const struct entry *b, size_t fields)
{
    for (size_t at = 0; at < fields; at++) {
        if (a->field[at] != b->field[at])
            return a->field[at] < b->field[at] ? -1 : 1;
    }
    return 0;
}

/* Returns the entry with the same first fields, or NULL. */
static const struct entry *find(const struct entry *all, size_t count, const struct entry *wanted,
                                size_t fields)
{
    size_t low = 0;
    while (count > 0) {
        size_t half = count / 2;
        int order = compare(&all[low + half], wanted, fields);
        if (order == 0)
            return &all[low + half];
        if (order < 0) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return NULL;
}

/* Reads numbers with commas between them and a semicolon behind the last; returns whether they are
 * so many. */
static bool numbers(const char *text, size_t bytes, size_t *at, uint64_t *into, size_t count)
{
    for (size_t number = 0; number < count; number++) {
        bool digits = false;
        into[number] = 0;
        for (; *at < bytes && text[*at] >= '0' && text[*at] <= '9'; (*at)++) {
            if (into[number] > UINT64_MAX / 10 - 1)
                return false;
            into[number] = into[number] * 10 + (uint64_t)(text[*at] - '0');
            digits = true;
        }
        char end = number + 1 == count ? ';' : ',';
        if (!digits || *at >= bytes || text[(*at)++] != end)
            return false;
    }
    return true;
}

/* Appends an entry; returns whether there is room and it comes behind the last. */
static bool append(struct entry *all, size_t *count, size_t most, const struct entry *one,
                   size_t fields)
{
    if (*count == most || (*count > 0 && compare(&all[*count - 1], one, fields) >= 0))
        return false;
    all[(*count)++] = *one;
    return true;
}

const char *onhand_init(const char *config, size_t bytes)
{
    static const char before[] = "{\"deals\":\"";
    size_t at = sizeof before - 1;
    if (bytes == 0)
        return NULL;
    for (size_t same = 0; same < at; same++) {
        if (same >= bytes || config[same] != before[same])
            return "configuration is not {\"deals\":\"...\"} without spaces";
    }
    uint64_t store = 0;
    while (at < bytes && config[at] != '"') {
        struct entry one = {{0}};
        if (config[at] == 's') {
            at++;
            if (!numbers(config, bytes, &at, &store, 1))
                return "deals: a store is s and its number";
        } else if (config[at] == 'c') {
            at++;
            if (!numbers(config, bytes, &at, one.field, 3))
                return "deals: a coupon is c and its number, product and amount";
            if (!append(coupons, &coupon_count, COUPONS_MAX, &one, 1))
                return "deals: coupons are too many, or not in order";
        } else {
            one.field[0] = store;
            if (!numbers(config, bytes, &at, one.field + 1, FIELDS - 1))
                return "deals: a deal is product, quantity, list price and amount";
            if (!append(deals, &deal_count, DEALS_MAX, &one, FIELDS - 1))
                return "deals: deals are too many, or not in order";
        }
    }
    return NULL;
}

/* Takes the order's coupons for a product off what is left of its line. */
static void use_coupons(struct onhand_order *order, uint32_t line, int64_t left)
{
    for (uint32_t at = 0; at < order->header->coupon_count; at++) {
        struct entry wanted = {{order->coupons[at]}};
        const struct entry *coupon = find(coupons, coupon_count, &wanted, 1);
        if (coupon == NULL || coupon->field[1] != order->lines[line].sku)
            continue;
        int64_t off = (int64_t)coupon->field[2];
        off = off < left ? off : left;
        if (off == 0)
            continue;
        onhand_off_line(order, line, off, RULE_COUPON);
        onhand_use_coupon(order, at, RULE_COUPON);
        left -= off;
    }
}

uint32_t onhand_price(struct onhand_order *order)
{
    for (uint32_t at = 0; at < order->header->line_count; at++) {
        const struct onhand_line *line = &order->lines[at];
        struct entry wanted = {{line->location, line->sku, line->quantity, (uint64_t)line->unit}};
        int64_t left = line->unit * line->quantity;
        const struct entry *deal = find(deals, deal_count, &wanted, FIELDS - 1);
        if (deal != NULL) {
            int64_t off = (int64_t)deal->field[FIELDS - 1];
            off = off < left ? off : left;
            onhand_off_line(order, at, off, RULE_DEAL);
            left -= off;
        }
        use_coupons(order, at, left);
    }
    return 0;
}
