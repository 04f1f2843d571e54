/* The world onhand:fraud@1.0.0: records as wit/fraud.wit has them, and the functions around
 * onhand_score. */
#ifndef ONHAND_FRAUD_H
#define ONHAND_FRAUD_H

#include "onhand.h"
#include "onhand_meta.h"

/* distance_km of an order whose distance is not known. */
#define ONHAND_DISTANCE_UNKNOWN UINT32_MAX

struct onhand_header {
    uint64_t customer;
    uint64_t address;
    uint64_t device;
    uint64_t now;
    uint32_t currency;
    int64_t total;
    uint32_t units;
    uint32_t customer_age_days;
    uint32_t distance_km;
    uint32_t customer_orders_hour;
    uint32_t customer_orders_day;
    int64_t customer_amount_day;
    uint32_t address_orders_hour;
    uint32_t address_customers_day;
    uint32_t device_orders_hour;
    uint32_t device_customers_day;
    uint32_t first_line;
    uint32_t line_count;
};

struct onhand_line {
    uint64_t sku;
    uint32_t quantity;
    int64_t unit;
};

enum onhand_verdict { ONHAND_ALLOW, ONHAND_CHALLENGE, ONHAND_REVIEW, ONHAND_DENY };

struct onhand_score {
    uint32_t points; /* 0 to 1,000 */
    uint32_t verdict;
    uint32_t code;
};

_Static_assert(sizeof(struct onhand_header) == 104, "layout");
_Static_assert(sizeof(struct onhand_line) == 24, "layout");
_Static_assert(sizeof(struct onhand_score) == 12, "layout");

/* To be written by the plugin: scores one order of `header->line_count` lines. */
struct onhand_score onhand_score(const struct onhand_header *header,
                                 const struct onhand_line *lines);

/* Scores a batch. */
static inline struct onhand_list onhand_score_batch(const struct onhand_header *headers,
                                                    size_t header_count,
                                                    const struct onhand_line *lines)
{
    struct onhand_list answer = {onhand_room(8, header_count * sizeof(struct onhand_score)),
                                 header_count};
    struct onhand_score *scores = answer.entries;
    for (size_t at = 0; at < header_count; at++)
        scores[at] = onhand_score(&headers[at], lines + headers[at].first_line);
    return answer;
}

#ifdef __wasm__

__attribute__((import_module("onhand:fraud/log@1.0.0"), import_name("log")))
void onhand_host_log(uint32_t level, const char *text, size_t bytes);

static inline void onhand_log(enum onhand_level level, const char *text)
{
    onhand_host_log(level, text, onhand_length(text));
}

ONHAND_EXPORT("onhand:fraud/policy@1.0.0#init")
uint32_t *onhand_export_init(const char *config, size_t bytes)
{
    return onhand_initialised(config, bytes);
}

ONHAND_EXPORT("onhand:fraud/policy@1.0.0#score-batch")
uint32_t *onhand_export_batch(const struct onhand_header *headers, size_t header_count,
                              const struct onhand_line *lines, size_t line_count)
{
    (void)line_count;
    struct onhand_list answer = onhand_score_batch(headers, header_count, lines);
    return onhand_answer(&answer);
}

#endif

#endif
