/* The world onhand:pricing@1.0.0: records as wit/pricing.wit has them, and the functions around
 * onhand_price. */
#ifndef ONHAND_PRICING_H
#define ONHAND_PRICING_H

#include "onhand.h"
#include "onhand_meta.h"

struct onhand_header {
    uint64_t customer;
    uint32_t segment;
    uint64_t now;
    uint32_t currency;
    uint32_t first_line;
    uint32_t line_count;
    uint32_t first_coupon;
    uint32_t coupon_count;
};

struct onhand_line {
    uint64_t sku;
    uint32_t class;
    uint32_t location;
    uint32_t quantity;
    int64_t unit;
};

struct onhand_adjustment {
    uint32_t kind;
    uint32_t at;
    int64_t amount;
    uint32_t code;
};

_Static_assert(sizeof(struct onhand_header) == 48, "layout");
_Static_assert(sizeof(struct onhand_line) == 32, "layout");
_Static_assert(sizeof(struct onhand_adjustment) == 24, "layout");

/* One order: `header->line_count` lines and `header->coupon_count` coupons. */
struct onhand_order {
    const struct onhand_header *header;
    const struct onhand_line *lines;
    const uint64_t *coupons;
    uint32_t index;
    struct onhand_list *answer;
};

/* To be written by the plugin. Returns 0, or the number of the reason why the order is refused. */
uint32_t onhand_price(struct onhand_order *order);

static inline void onhand_adjust(struct onhand_order *order, uint32_t kind, uint32_t at,
                                 int64_t amount, uint32_t code)
{
    struct onhand_adjustment *one = onhand_push(order->answer, sizeof *one);
    *one = (struct onhand_adjustment){kind, at, amount, code};
}

/* Takes an amount off the order's line `at`, by rule `code`; at most what the line costs. */
static inline void onhand_off_line(struct onhand_order *order, uint32_t at, int64_t amount,
                                   uint32_t code)
{
    if (amount != 0)
        onhand_adjust(order, 0, order->header->first_line + at, amount, code);
}

/* Takes an amount off the order, by rule `code`. */
static inline void onhand_off_order(struct onhand_order *order, int64_t amount, uint32_t code)
{
    if (amount != 0)
        onhand_adjust(order, 1, order->index, amount, code);
}

/* Says that rule `code` has used the order's coupon `at`. */
static inline void onhand_use_coupon(struct onhand_order *order, uint32_t at, uint32_t code)
{
    onhand_adjust(order, 3, order->header->first_coupon + at, 0, code);
}

/* Prices a batch. */
static inline struct onhand_list onhand_price_batch(const struct onhand_header *headers,
                                                    size_t header_count,
                                                    const struct onhand_line *lines,
                                                    const uint64_t *coupons)
{
    struct onhand_list answer = {0};
    for (size_t at = 0; at < header_count; at++) {
        const struct onhand_header *header = &headers[at];
        struct onhand_order order = {header, lines + header->first_line,
                                     coupons + header->first_coupon, (uint32_t)at, &answer};
        uint32_t code = onhand_price(&order);
        if (code != 0)
            onhand_adjust(&order, 2, order.index, 0, code);
    }
    return answer;
}

#ifdef __wasm__

__attribute__((import_module("onhand:pricing/log@1.0.0"), import_name("log")))
void onhand_host_log(uint32_t level, const char *text, size_t bytes);

static inline void onhand_log(enum onhand_level level, const char *text)
{
    onhand_host_log(level, text, onhand_length(text));
}

ONHAND_EXPORT("onhand:pricing/policy@1.0.0#init")
uint32_t *onhand_export_init(const char *config, size_t bytes)
{
    return onhand_initialised(config, bytes);
}

ONHAND_EXPORT("onhand:pricing/policy@1.0.0#price-batch")
uint32_t *onhand_export_batch(const struct onhand_header *headers, size_t header_count,
                              const struct onhand_line *lines, size_t line_count,
                              const uint64_t *coupons, size_t coupon_count)
{
    (void)line_count, (void)coupon_count;
    struct onhand_list answer = onhand_price_batch(headers, header_count, lines, coupons);
    return onhand_answer(&answer);
}

#endif

#endif
