// The conformance plugin in C: sdk/conformance/README.md says what it does.

#include "tidegate.h"

static double factor;

static void configure(const tg_json *config) {
    static const tg_key keys[] = {{"factor", true}, {"bands", false}};
    static const tg_key band_keys[] = {{"label", true}, {"below", false}};
    tg_json value, band;
    tg_json_object(config, keys, TG_COUNT(keys));
    if (tg_json_member(config, "bands", &value)) {
        for (uint32_t i = 0; tg_json_item(&value, i, &band); i++) {
            tg_json member;
            tg_json_object(&band, band_keys, TG_COUNT(band_keys));
            if (tg_json_member(&band, "label", &member)) tg_json_text(&member);
            if (tg_json_member(&band, "below", &member)) tg_json_number(&member);
        }
    }
    if (tg_json_member(config, "factor", &value)) {
        factor = tg_json_number(&value);
        if (factor <= 0) tg_refuse(&value, "it is not above zero");
    }
}

static const char *const SIZES[] = {"small", "medium", "large", NULL};

struct row {
    tg_text key;
    tg_text action;
    TG_OPTIONAL(bool) boolean;
    TG_OPTIONAL(int64_t) int64;
    TG_OPTIONAL(double) float64;
    TG_OPTIONAL(int64_t) timestamp;
    TG_OPTIONAL(int64_t) unix_time;
    TG_OPTIONAL(int32_t) date;
    TG_OPTIONAL(tg_text) text;
    TG_OPTIONAL(uint32_t) size;
    TG_OPTIONAL(tg_text) json;
    int64_t batch_time;
    TG_OPTIONAL(double) risk;
};

static const tg_read READS[] = {
    {TG_READ(struct row, key, TG_UTF8), .key = true},
    {TG_READ(struct row, action, TG_UTF8)},
    {TG_READ(struct row, boolean, TG_BOOLEAN), .path = "kinds.boolean", .optional = true},
    {TG_READ(struct row, int64, TG_INT64), .path = "kinds.int64", .optional = true},
    {TG_READ(struct row, float64, TG_FLOAT64), .path = "kinds.float64", .optional = true},
    {TG_READ(struct row, timestamp, TG_TIMESTAMP), .path = "kinds.timestamp", .optional = true},
    {TG_READ(struct row, unix_time, TG_TIMESTAMP), .path = "kinds.unix", .optional = true, .format = TG_UNIX_MILLISECONDS},
    {TG_READ(struct row, date, TG_DATE), .path = "kinds.date", .optional = true},
    {TG_READ(struct row, text, TG_UTF8), .path = "['a.b'][0].text", .optional = true},
    {TG_READ(struct row, size, TG_ENUMERATION), .path = "kinds.size", .optional = true, .labels = SIZES},
    {TG_READ(struct row, json, TG_JSON), .path = "kinds.json", .optional = true},
    {TG_READ(struct row, batch_time, TG_TIMESTAMP), .host = TG_BATCH_TIME},
    {TG_READ(struct row, risk, TG_FLOAT64), .optional = true, .lookup = "merchants",
     .keys = (const char *const[]){"merchant.id", NULL}, .column = "risk"},
};

struct written {
    TG_FIELD(bool) boolean;
    TG_FIELD(int64_t) int64;
    TG_FIELD(double) float64;
    TG_FIELD(int64_t) timestamp;
    TG_FIELD(int64_t) unix_time;
    TG_FIELD(int32_t) date;
    TG_FIELD(tg_text) text;
    TG_FIELD(uint32_t) size;
    TG_FIELD(tg_text) json;
    TG_FIELD(double) risk;
    tg_text absent;
    int64_t count;
    int64_t child;
    int64_t at;
};

static const tg_write WRITES[] = {
    {TG_WRITE(struct written, boolean, TG_BOOLEAN), .path = "out.boolean", .optional = true},
    {TG_WRITE(struct written, int64, TG_INT64), .path = "out.int64", .optional = true},
    {TG_WRITE(struct written, float64, TG_FLOAT64), .path = "out.float64", .optional = true},
    {TG_WRITE(struct written, timestamp, TG_TIMESTAMP), .path = "out.timestamp", .optional = true},
    {TG_WRITE(struct written, unix_time, TG_TIMESTAMP), .path = "out.unix", .optional = true, .format = TG_UNIX_MILLISECONDS},
    {TG_WRITE(struct written, date, TG_DATE), .path = "out.date", .optional = true},
    {TG_WRITE(struct written, text, TG_UTF8), .path = "out.text", .optional = true},
    {TG_WRITE(struct written, size, TG_ENUMERATION), .path = "out.size", .optional = true, .labels = SIZES},
    {TG_WRITE(struct written, json, TG_JSON), .path = "out.json", .optional = true},
    {TG_WRITE(struct written, risk, TG_FLOAT64), .path = "out.risk", .optional = true},
    {TG_WRITE(struct written, absent, TG_UTF8), .path = "out.absent"},
    {TG_WRITE(struct written, count, TG_INT64), .path = "out.count"},
    {TG_WRITE(struct written, child, TG_INT64), .path = "out.child"},
    {TG_WRITE(struct written, at, TG_TIMESTAMP), .path = "out.at"},
};

enum { REFUSED, GONE, NOTED };

static const tg_rule RULES[] = {
    [REFUSED] = {"refused", "The action is not to refuse.", .field = "action"},
    [GONE] = {"gone", "The row is wanted.", .dimension = TG_COMPLETENESS, .severity = TG_SEVERITY_INFO},
    [NOTED] = {"noted", "There is nothing to note.", .field = "['a.b'][0].text", .dimension = TG_CONSISTENCY,
               .severity = TG_SEVERITY_WARN},
};

struct history {
    uint32_t count;
    double total;
    bool has_last;
    tg_text last;
    uint32_t seen_count;
    int64_t seen[3];
};

static void decode_state(tg_reader *from, void *to) {
    struct history *state = to;
    tg_read_bytes(from, &state->count, sizeof state->count);
    tg_read_bytes(from, &state->total, sizeof state->total);
    tg_read_bytes(from, &state->has_last, sizeof state->has_last);
    if (state->has_last) state->last = tg_read_text(from);
    tg_read_bytes(from, &state->seen_count, sizeof state->seen_count);
    if (state->seen_count > TG_COUNT(state->seen)) tg_panic("a state has more than three integers");
    tg_read_bytes(from, state->seen, state->seen_count * sizeof state->seen[0]);
}

static void encode_state(tg_writer *to, const void *from) {
    const struct history *state = from;
    tg_write_bytes(to, &state->count, sizeof state->count);
    tg_write_bytes(to, &state->total, sizeof state->total);
    tg_write_bytes(to, &state->has_last, sizeof state->has_last);
    if (state->has_last) tg_write_text(to, state->last);
    tg_write_bytes(to, &state->seen_count, sizeof state->seen_count);
    tg_write_bytes(to, state->seen, state->seen_count * sizeof state->seen[0]);
}

static void count(struct history *state, const struct row *row) {
    state->count++;
    if (row->float64.absence == TG_PRESENT) state->total += row->float64.value;
    if (row->text.absence == TG_PRESENT) {
        state->has_last = true;
        state->last = row->text.value;
    }
    if (row->int64.absence == TG_PRESENT) {
        if (state->seen_count == TG_COUNT(state->seen)) {
            state->seen[0] = state->seen[1];
            state->seen[1] = state->seen[2];
            state->seen_count--;
        }
        state->seen[state->seen_count++] = row->int64.value;
    }
}

// A null is written as one, another type is removed; what is missing, out of range or malformed is left.
static uint8_t absent(tg_text *said, const char *name, uint8_t why) {
    if (said->length) *said = tg_join(*said, tg_text_of(", "));
    *said = tg_join(tg_join(*said, tg_text_of(name)), tg_join(tg_text_of(" "), tg_text_of(tg_absence_name(why))));
    return why == TG_ABSENT_NULL ? TG_SET_NULL : why == TG_OTHER_TYPE ? TG_REMOVE : TG_LEAVE;
}

#define TO(member, name, change)                                                                  \
    if (row->member.absence == TG_PRESENT) {                                                      \
        written->member.value = change;                                                           \
        written->member.action = TG_SET;                                                          \
    } else {                                                                                      \
        written->member.action = absent(&written->absent, name, row->member.absence);             \
    }

static tg_verdict answer(tg_call *call, const void *in, void *out) {
    const struct row *row = in;
    struct written *written = out;
    struct history *state = tg_state(call);
    int64_t children = 1;
    if (tg_text_is(row->action, "reject")) {
        return tg_reject(call, REFUSED, NULL);
    } else if (tg_text_is(row->action, "reject-with-detail")) {
        tg_find(call, NOTED, "before it");
        return tg_reject(call, REFUSED, "größer als gedacht");
    } else if (tg_text_is(row->action, "drop")) {
        return tg_drop(call, GONE, NULL);
    } else if (tg_text_is(row->action, "note")) {
        tg_find(call, NOTED, NULL);
    } else if (tg_text_is(row->action, "note-with-detail")) {
        tg_find(call, NOTED, "zwölf");
        tg_find(call, NOTED, NULL);
    } else if (tg_text_is(row->action, "split")) {
        children = row->int64.absence == TG_PRESENT ? row->int64.value : 0;
        if (children == 0) tg_find(call, GONE, "without children");
    } else if (tg_text_is(row->action, "panic")) {
        tg_panic("asked to panic");
    } else if (!tg_text_is(row->action, "peek")) {
        count(state, row);
    }
    TO(boolean, "boolean", !row->boolean.value)
    TO(int64, "int64", row->int64.value)
    TO(float64, "float64", row->float64.value * factor)
    TO(timestamp, "timestamp", row->timestamp.value + 1)
    TO(unix_time, "unix", row->unix_time.value)
    TO(date, "date", row->date.value + 1)
    TO(text, "text", tg_join(row->text.value, tg_text_of("!")))
    TO(size, "size", (row->size.value + 1) % 3)
    TO(json, "json", tg_join(tg_join(tg_text_of("["), row->json.value), tg_text_of("]")))
    TO(risk, "risk", row->risk.value)
    written->count = state->count;
    written->at = row->batch_time;
    for (written->child = 0; written->child < children; written->child++) tg_emit(call, written);
    return TG_EMIT;
}

const tg_plugin tg_the_plugin = {
    .name = "conformance",
    .version = "1.0.0",
    .summary = "Answers the conformance cases.",
    .config_schema =
        "{\"type\": \"object\", \"properties\": {"
        "\"factor\": {\"type\": \"number\", \"description\": \"What floats are multiplied by; above zero.\"}, "
        "\"bands\": {\"type\": \"array\", \"items\": {\"type\": \"object\", \"properties\": {\"label\": {\"type\": \"string\"}, "
        "\"below\": {\"type\": \"number\"}}, \"required\": [\"label\"], \"additionalProperties\": false}, "
        "\"description\": \"Nothing is done with them.\"}}, \"required\": [\"factor\"], \"additionalProperties\": false}",
    .may_be_passed_by = true,
    .fans_out = true,
    .reads = READS,
    .read_count = TG_COUNT(READS),
    .row_bytes = sizeof(struct row),
    .writes = WRITES,
    .write_count = TG_COUNT(WRITES),
    .written_bytes = sizeof(struct written),
    .rules = RULES,
    .rule_count = TG_COUNT(RULES),
    .state_version = 3,
    .state_bytes = sizeof(struct history),
    .decode_state = decode_state,
    .encode_state = encode_state,
    .configure = configure,
    .transform = answer,
};
