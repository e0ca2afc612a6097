// Write Tidegate plugins in C: two structs, two tables and a function. README.md is the manual.
//
// A plugin is freestanding: it needs clang and its linker, no libc and no WASI. What the functions
// below allocate belongs to the call and is taken back after it; what `configure` allocates stays.
#ifndef TIDEGATE_H
#define TIDEGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Text, not ended by a zero. What is read lies in the batch and goes with it.
typedef struct tg_text {
    const char *at;
    size_t length;
} tg_text;

tg_text tg_text_of(const char *c_string);
bool tg_text_is(tg_text text, const char *c_string);
// The texts one after the other, in the call's memory.
tg_text tg_join(tg_text first, tg_text second);
// The day that a timestamp lies in, in UTC.
int32_t tg_date(int64_t timestamp);
// Room in the call's memory; never NULL, for a host that has none ends the instance.
void *tg_allocate(size_t bytes);

// The type of a column, and of the struct's member that holds its value.
typedef enum tg_kind {
    TG_BOOLEAN,     // bool
    TG_INT64,       // int64_t
    TG_FLOAT64,     // double
    TG_TIMESTAMP,   // int64_t: microseconds since 1970-01-01T00:00:00Z
    TG_DATE,        // int32_t: days since 1970-01-01
    TG_UTF8,        // tg_text
    TG_ENUMERATION, // uint32_t: an index into the labels
    TG_JSON,        // tg_text: the raw text of a subtree
} tg_kind;

// Why a row has no value.
typedef enum tg_absence {
    TG_PRESENT,
    TG_MISSING,
    TG_ABSENT_NULL,
    TG_OTHER_TYPE,
    TG_OUT_OF_RANGE,
    TG_MALFORMED,
} tg_absence;

// "missing", "of another type" and so on, for a finding's detail.
const char *tg_absence_name(tg_absence why);

// The member of a field that is read and may be absent. TG_PRESENT is zero.
#define TG_OPTIONAL(type) struct { type value; uint8_t absence; }

// What is done with a field that is not always written. Zero leaves it, so that a struct that was
// cleared writes nothing.
typedef enum tg_action { TG_LEAVE, TG_SET, TG_SET_NULL, TG_REMOVE } tg_action;

// The member of a field that is not always written.
#define TG_FIELD(type) struct { type value; uint8_t action; }

typedef enum tg_format {
    TG_RFC3339,
    TG_UNIX_SECONDS,
    TG_UNIX_MILLISECONDS,
    TG_UNIX_MICROSECONDS,
} tg_format;

typedef enum tg_host_value {
    TG_NO_HOST_VALUE,
    TG_RECORD_ID,
    TG_PARTITION,
    TG_POSITION,
    TG_PARTITION_KEY,
    TG_ARRIVAL_TIME,
    TG_BATCH_TIME,
    TG_SOURCE,
} tg_host_value;

// A column that is read: `{TG_READ(struct row, amount, TG_FLOAT64)}`, with what else there is to say.
typedef struct tg_read {
    size_t offset;
    const char *name; // of the struct's member
    const char *path; // where it is not the name: "merchant.id", "items[0].sku"; "$" is the record
    tg_kind kind;
    bool optional; // the member is a TG_OPTIONAL; else the host rejects rows without a value
    bool key;      // of the plugin's state
    tg_format format;
    tg_host_value host;        // instead of a path
    const char *lookup;        // a table, instead of a path
    const char *const *keys;   // paths, ended by NULL
    const char *column;        // of the table
    const char *const *labels; // of an enumeration, ended by NULL
} tg_read;

#define TG_READ(row, member, of_kind) .offset = offsetof(row, member), .name = #member, .kind = of_kind

// A column that is written.
typedef struct tg_write {
    size_t offset;
    const char *name;
    const char *path;
    tg_kind kind;
    bool optional; // the member is a TG_FIELD
    tg_format format;
    const char *const *labels;
} tg_write;

#define TG_WRITE(row, member, of_kind) .offset = offsetof(row, member), .name = #member, .kind = of_kind

typedef enum tg_dimension {
    TG_VALIDITY,
    TG_COMPLETENESS,
    TG_UNIQUENESS,
    TG_CONSISTENCY,
    TG_TIMELINESS,
    TG_ACCURACY,
} tg_dimension;

typedef enum tg_severity { TG_SEVERITY_REJECT, TG_SEVERITY_WARN, TG_SEVERITY_INFO } tg_severity;

// What a row may break. Findings name it by its place in the table.
typedef struct tg_rule {
    const char *id;
    const char *text;
    const char *field; // a path, or NULL
    tg_dimension dimension;
    tg_severity severity;
} tg_rule;

// What becomes of a row.
typedef enum tg_verdict { TG_EMIT, TG_DROP, TG_REJECT } tg_verdict;

typedef struct tg_call tg_call;

// Refuse the row by a rule. The detail may be NULL; it says what is wrong and never what the value
// was, for it shows in logs. `return tg_reject(call, NEGATIVE, NULL);`
tg_verdict tg_reject(tg_call *call, uint32_t rule, const char *detail);
tg_verdict tg_drop(tg_call *call, uint32_t rule, const char *detail);
// Notes that the row breaks a rule, and lets it go on.
void tg_find(tg_call *call, uint32_t rule, const char *detail);
// Emits a row of a plugin that fans out; what is emitted is copied.
void tg_emit(tg_call *call, const void *written);
// The state of the row's key, of a plugin that keeps one.
void *tg_state(tg_call *call);

// Bytes of states: numbers little-endian, lengths as uint32, a byte before what may be absent. The
// same in every SDK, so a plugin that is written again in another language goes on with its states.
typedef struct tg_reader tg_reader;
typedef struct tg_writer tg_writer;
void tg_read_bytes(tg_reader *from, void *to, size_t bytes); // a number or a packed struct
tg_text tg_read_text(tg_reader *from);
void tg_write_bytes(tg_writer *to, const void *from, size_t bytes);
void tg_write_text(tg_writer *to, tg_text text);

// A value of the config, which is JSON that the host has checked.
typedef struct tg_json {
    const char *at;
    const char *end;
    const struct tg_json *parent;
    tg_text name;  // in its parent, an object
    int32_t index; // in its parent, a list; else -1
} tg_json;

typedef struct tg_key {
    const char *name;
    bool required;
} tg_key;

// A value that is not as asked refuses the config, with the place where it lies; what is answered
// then is zero, and nothing that follows matters.
void tg_json_object(const tg_json *value, const tg_key *keys, size_t count);
bool tg_json_member(const tg_json *object, const char *name, tg_json *member);
bool tg_json_item(const tg_json *list, uint32_t index, tg_json *item);
double tg_json_number(const tg_json *value); // exact to 15 digits
bool tg_json_boolean(const tg_json *value);
tg_text tg_json_text(const tg_json *value); // unescaped
// Refuses the config for a value; the first refusal counts.
void tg_refuse(const tg_json *value, const char *why);

typedef enum tg_level { TG_DEBUG, TG_INFO, TG_WARN, TG_ERROR } tg_level;
// Never log a record's values.
void tg_log(tg_level level, const char *message);
// Ends the instance, with a text and the row for the dead letter. For bugs, not for bad rows.
_Noreturn void tg_panic(const char *message);

// All that a plugin is.
typedef struct tg_plugin {
    const char *name;
    const char *version;
    const char *summary;
    const char *config_schema; // JSON Schema
    bool may_be_passed_by;
    bool fans_out;

    const tg_read *reads;
    size_t read_count;
    size_t row_bytes;
    const tg_write *writes;
    size_t write_count;
    size_t written_bytes;
    const tg_rule *rules;
    size_t rule_count;

    // Of a plugin that keeps state; a key that has none yet has one of zero bytes.
    uint32_t state_version;
    size_t state_bytes;
    void (*decode_state)(tg_reader *from, void *state);
    void (*encode_state)(tg_writer *to, const void *state);

    // Takes the config; may be NULL for a plugin that has none.
    void (*configure)(const tg_json *config);
    // Answers a row. A plugin that does not fan out fills `written`, which was cleared.
    tg_verdict (*transform)(tg_call *call, const void *row, void *written);
} tg_plugin;

// The plugin that the component is; its source defines it.
extern const tg_plugin tg_the_plugin;

#define TG_COUNT(table) (sizeof(table) / sizeof((table)[0]))

#ifdef __cplusplus
}
#endif
#endif
