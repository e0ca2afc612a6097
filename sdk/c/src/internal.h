// What the SDK's files share.
#ifndef TIDEGATE_INTERNAL_H
#define TIDEGATE_INTERNAL_H

#include "tidegate.h"

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *one, const void *two, size_t bytes);
size_t strlen(const char *text);

// Values one after the other, which grow.
typedef struct tg_buffer {
    void *at;
    uint32_t bytes;
    uint32_t room;
} tg_buffer;

void *tg_push(tg_buffer *buffer, size_t bytes);
void tg_push_u8(tg_buffer *buffer, uint8_t value);
void tg_push_u32(tg_buffer *buffer, uint32_t value);

struct tg_reader {
    const uint8_t *at;
    const uint8_t *end;
};

struct tg_writer {
    tg_buffer bytes;
};

// Byte strings back to back.
typedef struct tg_texts {
    tg_buffer offsets;
    tg_buffer bytes;
} tg_texts;

void tg_texts_push(tg_texts *texts, const void *at, size_t bytes);

// A column as it is read: one value a row, and which rows hold one.
typedef struct tg_column_in {
    const void *values; // offsets, of text
    const char *bytes;  // of text
    const uint8_t *presence;
} tg_column_in;

// A column as it is written.
typedef struct tg_column_out {
    tg_texts values; // offsets are the values, but of text
    tg_buffer presence;
} tg_column_out;

struct tg_call {
    uint32_t rows;
    uint32_t row;
    uint32_t emitted; // rows, of this row
    uint32_t written; // rows, of the batch
    tg_verdict verdict;
    uint32_t refused_rule;
    const char *refused_detail;
    tg_buffer found; // of this row: pairs of a rule and a detail

    const tg_column_in *columns;
    const uint32_t *state_rows;
    const uint32_t *state_offsets;
    uint32_t state_count;
    const uint8_t *state_bytes;
    void **states; // by key, NULL where not looked at

    tg_buffer verdicts;
    tg_buffer parents;
    tg_column_out *out;
    tg_buffer finding_rows;
    tg_buffer finding_rules;
    tg_texts details;
    bool has_details;
    tg_buffer changed_keys;
    tg_texts changed_states;
};

typedef struct tg_found {
    uint32_t rule;
    const char *detail;
} tg_found;

// Answers the batch of a call.
void tg_run(tg_call *call);

// The row that is being worked on, or -1.
extern int32_t tg_current_row;

// Why the config is refused, and the JSON Pointer of where; NULL where it is not.
typedef struct tg_refusal {
    tg_text pointer;
    const char *why;
} tg_refusal;

extern tg_refusal tg_refused;

#endif
