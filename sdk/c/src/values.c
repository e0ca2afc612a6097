// Texts, buffers, and the bytes of states.

#include "internal.h"

tg_text tg_text_of(const char *c_string) { return (tg_text){c_string, strlen(c_string)}; }

bool tg_text_is(tg_text text, const char *c_string) {
    return text.length == strlen(c_string) && memcmp(text.at, c_string, text.length) == 0;
}

tg_text tg_join(tg_text first, tg_text second) {
    char *joined = tg_allocate(first.length + second.length);
    memcpy(joined, first.at, first.length);
    memcpy(joined + first.length, second.at, second.length);
    return (tg_text){joined, first.length + second.length};
}

int32_t tg_date(int64_t timestamp) {
    const int64_t day = 86400000000;
    return (int32_t)(timestamp / day - (timestamp % day < 0));
}

const char *tg_absence_name(tg_absence why) {
    switch (why) {
    case TG_PRESENT: return "present";
    case TG_MISSING: return "missing";
    case TG_ABSENT_NULL: return "null";
    case TG_OTHER_TYPE: return "of another type";
    case TG_OUT_OF_RANGE: return "out of range";
    default: return "malformed";
    }
}

void *tg_push(tg_buffer *buffer, size_t bytes) {
    if (bytes > UINT32_MAX - buffer->bytes) tg_panic("a reply is far below 4 GiB");
    if (buffer->bytes + bytes > buffer->room) {
        uint64_t room = 2 * (uint64_t)buffer->room + bytes + 64;
        if (room > UINT32_MAX) tg_panic("a reply is far below 4 GiB");
        void *grown = tg_allocate((size_t)room);
        if (buffer->bytes) memcpy(grown, buffer->at, buffer->bytes);
        buffer->at = grown;
        buffer->room = (uint32_t)room;
    }
    void *at = (char *)buffer->at + buffer->bytes;
    buffer->bytes += (uint32_t)bytes;
    return at;
}

void tg_push_u8(tg_buffer *buffer, uint8_t value) { *(uint8_t *)tg_push(buffer, 1) = value; }

void tg_push_u32(tg_buffer *buffer, uint32_t value) { *(uint32_t *)tg_push(buffer, 4) = value; }

void tg_texts_push(tg_texts *texts, const void *at, size_t bytes) {
    if (!texts->offsets.bytes) tg_push_u32(&texts->offsets, 0);
    if (bytes) memcpy(tg_push(&texts->bytes, bytes), at, bytes);
    tg_push_u32(&texts->offsets, texts->bytes.bytes);
}

void tg_read_bytes(tg_reader *from, void *to, size_t bytes) {
    if (bytes > (size_t)(from->end - from->at)) tg_panic("the stored state is not one of this state version");
    memcpy(to, from->at, bytes);
    from->at += bytes;
}

tg_text tg_read_text(tg_reader *from) {
    uint32_t length;
    tg_read_bytes(from, &length, sizeof length);
    if (length > (size_t)(from->end - from->at)) tg_panic("the stored state is not one of this state version");
    tg_text text = {(const char *)from->at, length};
    from->at += length;
    return text;
}

void tg_write_bytes(tg_writer *to, const void *from, size_t bytes) {
    if (bytes) memcpy(tg_push(&to->bytes, bytes), from, bytes);
}

void tg_write_text(tg_writer *to, tg_text text) {
    uint32_t length = (uint32_t)text.length;
    tg_write_bytes(to, &length, sizeof length);
    tg_write_bytes(to, text.at, text.length);
}
