/* The world onhand:recommend@1.0.0: records as wit/recommend.wit has them, and the functions
 * around onhand_recommend. */
#ifndef ONHAND_RECOMMEND_H
#define ONHAND_RECOMMEND_H

#include "onhand.h"
#include "onhand_meta.h"

/* Most picks that a request may want. */
#define ONHAND_PICKS_MAX 100

struct onhand_request {
    uint64_t customer;
    uint64_t now;
    uint32_t first_item;
    uint32_t item_count;
    uint32_t first_candidate;
    uint32_t candidate_count;
    uint32_t limit;
};

struct onhand_candidate {
    uint64_t sku;
    uint32_t together;
    uint32_t alone;
    uint32_t items;
    uint32_t popularity;
    uint32_t available;
};

struct onhand_pick {
    uint32_t request;
    uint64_t sku;
    uint32_t score;
};

_Static_assert(sizeof(struct onhand_request) == 40, "layout");
_Static_assert(sizeof(struct onhand_candidate) == 32, "layout");
_Static_assert(sizeof(struct onhand_pick) == 24, "layout");

/* What is picked for one request, best first, each SKU once. */
struct onhand_picks {
    uint32_t limit;
    uint32_t count;
    struct onhand_pick best[ONHAND_PICKS_MAX + 1];
};

/* To be written by the plugin: offers picks for one request of `request->item_count` items and
 * `request->candidate_count` candidates. */
void onhand_recommend(const struct onhand_request *request, const uint64_t *items,
                      const struct onhand_candidate *candidates, struct onhand_picks *picks);

/* Offers a SKU with its score. Of two with the same score the one that came first is better; a
 * SKU that is there already keeps its better score. */
static inline void onhand_offer(struct onhand_picks *picks, uint64_t sku, uint32_t score)
{
    uint32_t at = 0, end = picks->count;
    while (at < end && picks->best[at].sku != sku)
        at++;
    if (at < end) {
        if (picks->best[at].score >= score)
            return;
        end = at;
        picks->count--;
        for (uint32_t next = at; next < picks->count; next++)
            picks->best[next] = picks->best[next + 1];
    }
    at = 0;
    while (at < picks->count && picks->best[at].score >= score)
        at++;
    if (at >= picks->limit)
        return;
    for (uint32_t next = picks->count; next > at; next--)
        picks->best[next] = picks->best[next - 1];
    picks->best[at] = (struct onhand_pick){0, sku, score};
    if (picks->count < picks->limit)
        picks->count++;
}

/* Picks for a batch. */
static inline struct onhand_list onhand_recommend_batch(const struct onhand_request *requests,
                                                        size_t request_count,
                                                        const uint64_t *items,
                                                        const struct onhand_candidate *candidates)
{
    static struct onhand_picks picks;
    struct onhand_list answer = {0};
    for (size_t at = 0; at < request_count; at++) {
        const struct onhand_request *request = &requests[at];
        picks.limit = request->limit < ONHAND_PICKS_MAX ? request->limit : ONHAND_PICKS_MAX;
        picks.count = 0;
        onhand_recommend(request, items + request->first_item,
                         candidates + request->first_candidate, &picks);
        for (uint32_t pick = 0; pick < picks.count; pick++) {
            struct onhand_pick *one = onhand_push(&answer, sizeof *one);
            *one = (struct onhand_pick){(uint32_t)at, picks.best[pick].sku,
                                        picks.best[pick].score};
        }
    }
    return answer;
}

#ifdef __wasm__

__attribute__((import_module("onhand:recommend/log@1.0.0"), import_name("log")))
void onhand_host_log(uint32_t level, const char *text, size_t bytes);

static inline void onhand_log(enum onhand_level level, const char *text)
{
    onhand_host_log(level, text, onhand_length(text));
}

ONHAND_EXPORT("onhand:recommend/policy@1.0.0#init")
uint32_t *onhand_export_init(const char *config, size_t bytes)
{
    return onhand_initialised(config, bytes);
}

ONHAND_EXPORT("onhand:recommend/policy@1.0.0#recommend-batch")
uint32_t *onhand_export_batch(const struct onhand_request *requests, size_t request_count,
                              const uint64_t *items, size_t item_count,
                              const struct onhand_candidate *candidates, size_t candidate_count)
{
    (void)item_count, (void)candidate_count;
    struct onhand_list answer =
        onhand_recommend_batch(requests, request_count, items, candidates);
    return onhand_answer(&answer);
}

#endif

#endif
