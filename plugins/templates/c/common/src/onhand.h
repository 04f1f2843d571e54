/* What every Onhand plugin in C needs: room for the facts, the configuration, the log.
 *
 * A plugin has no libc, no heap and no clock. Facts are read where the host has put them; they are
 * gone when the call ends, and so is everything else: keep nothing between calls. */
#ifndef ONHAND_H
#define ONHAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum onhand_level { ONHAND_ERROR, ONHAND_WARNING, ONHAND_INFORMATION, ONHAND_DETAIL };

/* Logs a line for the operator: 256 bytes of it and 16 lines of a call are kept. */
static void onhand_log(enum onhand_level level, const char *text);

/* To be written by the plugin: takes the configuration, `bytes` of JSON that end nowhere else.
 * Returns NULL, or a static text that says what is wrong with it. */
const char *onhand_init(const char *config, size_t bytes);

/* Sets `value` to the whole number of a field of a flat JSON object, and leaves it as it is if
 * there is none. Returns whether it is within the range. */
static inline bool onhand_int(const char *config, size_t bytes, const char *name, int64_t least,
                              int64_t most, int64_t *value)
{
    for (size_t at = 0; at < bytes; at++) {
        if (config[at] != '"')
            continue;
        size_t end = at + 1, same = 0;
        while (end < bytes && config[end] != '"') {
            same += name[same] != '\0' && config[end] == name[same] && same == end - at - 1;
            end++;
        }
        bool found = same == end - at - 1 && name[same] == '\0';
        at = end + 1;
        while (at < bytes && (config[at] == ' ' || config[at] == '\n' || config[at] == ':'))
            at++;
        if (!found) {
            at--;
            continue;
        }
        bool negative = at < bytes && config[at] == '-';
        at += negative;
        int64_t number = 0;
        bool digits = false;
        for (; at < bytes && config[at] >= '0' && config[at] <= '9'; at++) {
            digits = true;
            if (number > (INT64_MAX - 9) / 10)
                return false;
            number = number * 10 + (config[at] - '0');
        }
        number = negative ? -number : number;
        if (!digits || number < least || number > most)
            return false;
        *value = number;
    }
    return true;
}

#ifdef __wasm__

#define ONHAND_EXPORT(name) __attribute__((export_name(name)))
#define ONHAND_PAGE 65536

extern unsigned char __heap_base;
/* First byte that is not in use; everything from the heap's base on is given back at once. */
static uintptr_t onhand_top;
static uint32_t onhand_result[3];

/* Makes sure of memory up to a place. */
static inline void onhand_reach(uintptr_t end)
{
    uintptr_t have = __builtin_wasm_memory_size(0) * (uintptr_t)ONHAND_PAGE;
    if (end <= have)
        return;
    uintptr_t pages = (end - have + ONHAND_PAGE - 1) / ONHAND_PAGE;
    if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) {
        onhand_log(ONHAND_ERROR, "no memory is left");
        __builtin_trap();
    }
}

static inline void *onhand_room(size_t align, size_t bytes)
{
    if (onhand_top == 0)
        onhand_top = (uintptr_t)&__heap_base;
    uintptr_t place = (onhand_top + align - 1) & ~(uintptr_t)(align - 1);
    onhand_top = place + bytes;
    onhand_reach(onhand_top);
    return (void *)place;
}

/* The host asks for room for what it hands in. */
ONHAND_EXPORT("cabi_realloc")
void *onhand_realloc(unsigned char *old, size_t old_bytes, size_t align, size_t bytes)
{
    unsigned char *place = onhand_room(align, bytes);
    for (size_t at = 0; at < old_bytes && at < bytes; at++)
        place[at] = old[at];
    return place;
}

static inline void onhand_forget(void)
{
    onhand_top = (uintptr_t)&__heap_base;
}

static inline size_t onhand_length(const char *text)
{
    size_t bytes = 0;
    while (text[bytes] != '\0')
        bytes++;
    return bytes;
}

/* Answers for `init`. */
static inline uint32_t *onhand_initialised(const char *config, size_t bytes)
{
    const char *error = onhand_init(config, bytes);
    onhand_result[0] = error != NULL;
    onhand_result[1] = (uint32_t)(uintptr_t)error;
    onhand_result[2] = error == NULL ? 0 : onhand_length(error);
    onhand_forget();
    return onhand_result;
}

#else

/* On other machines, for tests: room of a fixed size, given back by hand. */
#include <stdio.h>
#include <stdlib.h>

static _Alignas(16) unsigned char onhand_memory[1 << 20];
static uintptr_t onhand_top;

static inline void onhand_reach(uintptr_t end)
{
    if (end > (uintptr_t)onhand_memory + sizeof onhand_memory)
        abort();
}

static inline void *onhand_room(size_t align, size_t bytes)
{
    if (onhand_top == 0)
        onhand_top = (uintptr_t)onhand_memory;
    uintptr_t place = (onhand_top + align - 1) & ~(uintptr_t)(align - 1);
    onhand_top = place + bytes;
    onhand_reach(onhand_top);
    return (void *)place;
}

static inline void onhand_forget(void)
{
    onhand_top = (uintptr_t)onhand_memory;
}

static inline void onhand_log(enum onhand_level level, const char *text)
{
    fprintf(stderr, "log %d: %s\n", level, text);
}

#endif

/* A list of answers that grows at the end of the room in use. */
struct onhand_list {
    void *entries;
    size_t count;
};

/* Returns the place of one more entry. */
static inline void *onhand_push(struct onhand_list *list, size_t bytes)
{
    unsigned char *place = onhand_room(8, bytes);
    if (list->count++ == 0)
        list->entries = place;
    return place;
}

#ifdef __wasm__

/* Answers for the function that decides. The host reads the answer before it calls again. */
static inline uint32_t *onhand_answer(const struct onhand_list *list)
{
    onhand_result[0] = (uint32_t)(uintptr_t)list->entries;
    onhand_result[1] = list->count;
    onhand_forget();
    return onhand_result;
}

#endif

#endif
