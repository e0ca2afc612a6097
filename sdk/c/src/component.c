// The contract's binary interface: the canonical ABI of wit/plugin.wit at 0.1.0, by hand. It is frozen
// with the contract, and the structs below are its whole layout: C's for 32 bits is the same.
#ifdef __wasm__

#include "internal.h"

#define IMPORT(name) __attribute__((import_module("tidegate:plugin/host@0.1.0"), import_name(name)))
#define EXPORT(name) __attribute__((export_name("tidegate:plugin/plugin@0.1.0#" name)))

IMPORT("log") void host_log(uint32_t level, const char *text, size_t length);
IMPORT("fault") void host_fault(uint32_t has_row, uint32_t row, const char *text, size_t length);

void tg_log(tg_level level, const char *message) { host_log(level, message, strlen(message)); }

_Noreturn void tg_panic(const char *message) {
    host_fault(tg_current_row >= 0, (uint32_t)tg_current_row, message, strlen(message));
    __builtin_trap();
}

// Memory: what is taken is given back all at once, when the call is over.
extern char __heap_base;
static char *heap;
static char *heap_mark;

void *tg_allocate(size_t bytes) {
    if (!heap) heap = &__heap_base;
    uintptr_t at = ((uintptr_t)heap + 7) & ~(uintptr_t)7;
    uintptr_t end = at + bytes;
    uintptr_t room = __builtin_wasm_memory_size(0) * 65536;
    if (end < at) __builtin_trap();
    if (end > room) {
        // In steps of a megabyte, so that it is not asked for with every list.
        size_t pages = (end - room + 65535) / 65536;
        size_t step = pages < 16 ? 16 : pages;
        if (__builtin_wasm_memory_grow(0, step) == (size_t)-1 &&
            __builtin_wasm_memory_grow(0, pages) == (size_t)-1) {
            __builtin_trap();
        }
    }
    heap = (char *)end;
    return (void *)at;
}

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_bytes, size_t align, size_t bytes) {
    (void)align;
    void *at = tg_allocate(bytes);
    if (old) memcpy(at, old, old_bytes < bytes ? old_bytes : bytes);
    return at;
}

typedef struct list {
    const void *at;
    size_t length;
} list;

typedef struct binary_lists {
    list offsets, bytes;
} binary_lists;

typedef struct column_record {
    uint8_t kind;
    binary_lists values;
    list presence;
} column_record;

typedef struct reply_record {
    list verdicts, parents, columns, finding_rows, finding_rules;
    binary_lists details;
    list changed_keys;
    binary_lists changed_states;
} reply_record;

typedef struct about_record {
    list name, version, summary, config_schema, capabilities;
    uint32_t state_version;
    bool may_be_passed_by;
} about_record;

typedef struct segment_variant {
    uint8_t is_index;
    list text; // or the index in its first word
} segment_variant;

typedef struct kind_variant {
    uint8_t kind;
    list labels; // or the format in its first byte
} kind_variant;

typedef struct read_record {
    uint8_t origin; // field, host, lookup
    list payload[3];
    kind_variant kind;
    bool required;
} read_record;

typedef struct write_record {
    list path;
    kind_variant kind;
} write_record;

typedef struct rule_record {
    list id;
    uint8_t dimension, severity;
    uint8_t has_field __attribute__((aligned(4)));
    list field, text;
} rule_record;

typedef struct configure_result {
    uint8_t is_error;
    list reads_or_pointer, writes_or_message, rules;
    uint8_t has_state;
    list key;
} configure_result;

_Static_assert(sizeof(column_record) == 28 && sizeof(read_record) == 44 && sizeof(rule_record) == 32, "the layout");

static list c_text(const char *text) { return (list){text, strlen(text)}; }

static list values_of(const tg_buffer *buffer, size_t width) { return (list){buffer->at, buffer->bytes / width}; }

static binary_lists texts_of(const tg_texts *texts) {
    return (binary_lists){values_of(&texts->offsets, 4), values_of(&texts->bytes, 1)};
}

static bool is_name_char(char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80);
}

// A path's segments. What is no path is a bug of the plugin, and found by the first `configure`.
static list path_of(const char *at) {
    tg_buffer segments = {0};
    if (*at == '$') at++;
    else if (*at == 0) tg_panic("a path is empty; the whole record is `$`");
    bool is_first = at[0] != '[' && at[0] != '.' && at[0] != 0;
    while (*at) {
        segment_variant segment = {0};
        if (is_first || *at == '.') {
            at += !is_first;
            is_first = false;
            const char *name = at;
            while (is_name_char(*at)) at++;
            if (at == name || (*name >= '0' && *name <= '9')) tg_panic("a path has a name that stands in brackets: ['a-b']");
            segment.text = (list){name, (size_t)(at - name)};
        } else if (at[0] == '[' && (at[1] == '\'' || at[1] == '"')) {
            char quote = at[1];
            const char *name = at += 2;
            while (*at && *at != quote) {
                if (*at++ == '\\') tg_panic("a path in C has no escapes");
            }
            segment.text = (list){name, (size_t)(at - name)};
            if (!*at || at[1] != ']') tg_panic("a path lacks a quote or `]`");
            at += 2;
        } else if (at[0] == '[' && at[1] >= '0' && at[1] <= '9') {
            uint32_t index = 0;
            for (at++; *at >= '0' && *at <= '9'; at++) index = index * 10 + (uint32_t)(*at - '0');
            segment.is_index = 1;
            segment.text.at = (const void *)(uintptr_t)index;
            if (*at++ != ']') tg_panic("a path lacks `]`");
        } else {
            tg_panic("a path is not one of one field");
        }
        *(segment_variant *)tg_push(&segments, sizeof segment) = segment;
    }
    return values_of(&segments, sizeof(segment_variant));
}

static kind_variant kind_of(tg_kind kind, const char *const *labels, tg_format format) {
    kind_variant variant = {.kind = (uint8_t)kind};
    if (kind == TG_TIMESTAMP) {
        variant.labels.at = (const void *)(uintptr_t)format;
    } else if (kind == TG_ENUMERATION) {
        tg_buffer texts = {0};
        for (; labels && *labels; labels++) *(list *)tg_push(&texts, sizeof(list)) = c_text(*labels);
        variant.labels = values_of(&texts, sizeof(list));
    }
    return variant;
}

static read_record read_of(const tg_read *read) {
    read_record record = {.kind = kind_of(read->kind, read->labels, read->format)};
    record.required = !read->optional && !read->host;
    if (read->host) {
        record.origin = 1;
        record.payload[0].at = (const void *)(uintptr_t)(read->host - 1);
    } else if (read->lookup) {
        tg_buffer keys = {0};
        for (const char *const *key = read->keys; key && *key; key++) *(list *)tg_push(&keys, sizeof(list)) = path_of(*key);
        record.origin = 2;
        record.payload[0] = c_text(read->lookup);
        record.payload[1] = values_of(&keys, sizeof(list));
        record.payload[2] = c_text(read->column);
    } else {
        record.payload[0] = path_of(read->path ? read->path : read->name);
    }
    return record;
}

static bool is_document(const char *path) { return path && path[0] == '$' && !path[1]; }

EXPORT("describe") const about_record *describe(void) {
    static about_record about;
    static list capabilities[4];
    const tg_plugin *plugin = &tg_the_plugin;
    bool document = false, lookups = false;
    for (size_t i = 0; i < plugin->read_count; i++) {
        const tg_read *read = &plugin->reads[i];
        lookups = lookups || read->lookup;
        document = document || (!read->lookup && !read->host && is_document(read->path));
    }
    for (size_t i = 0; i < plugin->write_count; i++) document = document || is_document(plugin->writes[i].path);
    size_t count = 0;
    if (plugin->state_bytes) capabilities[count++] = c_text("state");
    if (plugin->fans_out) capabilities[count++] = c_text("fan-out");
    if (document) capabilities[count++] = c_text("document");
    if (lookups) capabilities[count++] = c_text("lookups");
    about = (about_record){
        c_text(plugin->name), c_text(plugin->version), c_text(plugin->summary), c_text(plugin->config_schema),
        {capabilities, count}, plugin->state_bytes ? plugin->state_version : 0, plugin->may_be_passed_by,
    };
    return &about;
}

static configure_result configured;

EXPORT("configure") const configure_result *configure(const char *config, size_t length) {
    if (tg_the_plugin.configure) {
        tg_json root = {config, config + length, NULL, {0}, -1};
        while (root.at < root.end && *root.at <= ' ') root.at++;
        tg_the_plugin.configure(&root);
        if (tg_refused.why) {
            configured = (configure_result){
                .is_error = 1, .reads_or_pointer = {tg_refused.pointer.at, tg_refused.pointer.length},
                .writes_or_message = c_text(tg_refused.why),
            };
            return &configured;
        }
    }
    tg_buffer reads = {0}, writes = {0}, rules = {0}, key = {0};
    for (size_t i = 0; i < tg_the_plugin.read_count; i++) {
        *(read_record *)tg_push(&reads, sizeof(read_record)) = read_of(&tg_the_plugin.reads[i]);
        if (tg_the_plugin.reads[i].key) tg_push_u32(&key, (uint32_t)i);
    }
    for (size_t i = 0; i < tg_the_plugin.write_count; i++) {
        const tg_write *write = &tg_the_plugin.writes[i];
        *(write_record *)tg_push(&writes, sizeof(write_record)) =
            (write_record){path_of(write->path ? write->path : write->name), kind_of(write->kind, write->labels, write->format)};
    }
    for (size_t i = 0; i < tg_the_plugin.rule_count; i++) {
        const tg_rule *rule = &tg_the_plugin.rules[i];
        // The contract's order begins with completeness, and with the mildest severity.
        static const uint8_t dimensions[] = {1, 0, 2, 3, 4, 5};
        *(rule_record *)tg_push(&rules, sizeof(rule_record)) = (rule_record){
            c_text(rule->id), dimensions[rule->dimension], (uint8_t)(2 - rule->severity), rule->field != NULL,
            rule->field ? path_of(rule->field) : (list){0}, c_text(rule->text),
        };
    }
    configured = (configure_result){
        0, values_of(&reads, sizeof(read_record)), values_of(&writes, sizeof(write_record)),
        values_of(&rules, sizeof(rule_record)), tg_the_plugin.state_bytes > 0, values_of(&key, 4),
    };
    // What the config left behind stays; the rest is taken back after each batch.
    heap_mark = heap;
    return &configured;
}

EXPORT("transform")
const reply_record *transform(
    uint32_t rows, const column_record *columns, size_t column_count, const uint32_t *state_rows, size_t state_rows_count,
    const uint32_t *state_offsets, size_t state_offsets_count, const uint8_t *state_bytes, size_t state_bytes_count) {
    (void)state_rows_count, (void)state_bytes_count;
    static tg_call call;
    static reply_record reply;
    tg_column_in *in = tg_allocate(column_count * sizeof(tg_column_in));
    for (size_t i = 0; i < column_count; i++) {
        in[i] = (tg_column_in){
            columns[i].values.offsets.at, columns[i].values.bytes.at, columns[i].presence.length ? columns[i].presence.at : NULL,
        };
    }
    call = (tg_call){
        .rows = rows, .columns = in, .state_rows = state_rows, .state_offsets = state_offsets,
        .state_count = state_offsets_count ? (uint32_t)state_offsets_count - 1 : 0, .state_bytes = state_bytes,
    };
    tg_run(&call);
    column_record *out = tg_allocate(tg_the_plugin.write_count * sizeof(column_record));
    static const uint8_t widths[] = {1, 8, 8, 8, 4, 4, 4, 4};
    for (size_t i = 0; i < tg_the_plugin.write_count; i++) {
        tg_kind kind = tg_the_plugin.writes[i].kind;
        const tg_column_out *column = &call.out[i];
        out[i] = (column_record){
            (uint8_t)kind, {values_of(&column->values.offsets, widths[kind]), values_of(&column->values.bytes, 1)},
            values_of(&column->presence, 1),
        };
    }
    reply = (reply_record){
        values_of(&call.verdicts, 1), values_of(&call.parents, 4), {out, tg_the_plugin.write_count},
        values_of(&call.finding_rows, 4), values_of(&call.finding_rules, 4),
        call.has_details ? texts_of(&call.details) : (binary_lists){0}, values_of(&call.changed_keys, 4),
        texts_of(&call.changed_states),
    };
    return &reply;
}

__attribute__((export_name("cabi_post_tidegate:plugin/plugin@0.1.0#transform"))) void after_transform(const void *reply) {
    (void)reply;
    heap = heap_mark;
}

#endif
