// {{name}} sizes transactions up.

#include "tidegate.h"

static const char *const SIZES[] = {"small", "large", NULL};

// What is read: the members of these names, or where a path says.
struct transaction {
    double amount; // required: the host rejects rows without it
    TG_OPTIONAL(tg_text) currency;
    int64_t at;
};

static const tg_read READS[] = {
    {TG_READ(struct transaction, amount, TG_FLOAT64)},
    {TG_READ(struct transaction, currency, TG_UTF8), .optional = true},
    {TG_READ(struct transaction, at, TG_TIMESTAMP), .path = "time.utc"},
};

// What is written.
struct sized {
    uint32_t size;
    TG_FIELD(bool) is_foreign; // left as it is where nothing sets it
    int32_t day;
};

static const tg_write WRITES[] = {
    {TG_WRITE(struct sized, size, TG_ENUMERATION), .labels = SIZES},
    {TG_WRITE(struct sized, is_foreign, TG_BOOLEAN), .optional = true},
    {TG_WRITE(struct sized, day, TG_DATE)},
};

enum { NEGATIVE_AMOUNT };

static const tg_rule RULES[] = {
    [NEGATIVE_AMOUNT] = {"negative-amount", "The amount is not negative.", .field = "amount"},
};

static double large;

static void configure(const tg_json *config) {
    static const tg_key keys[] = {{"large", true}};
    tg_json value;
    tg_json_object(config, keys, TG_COUNT(keys));
    if (tg_json_member(config, "large", &value)) large = tg_json_number(&value);
}

static tg_verdict size(tg_call *call, const void *row, void *written) {
    const struct transaction *in = row;
    struct sized *out = written;
    if (in->amount < 0) return tg_reject(call, NEGATIVE_AMOUNT, NULL);
    out->size = in->amount >= large;
    if (in->currency.absence == TG_PRESENT) {
        out->is_foreign.value = !tg_text_is(in->currency.value, "EUR");
        out->is_foreign.action = TG_SET;
    }
    out->day = tg_date(in->at);
    return TG_EMIT;
}

const tg_plugin tg_the_plugin = {
    .name = "{{name}}",
    .version = "0.1.0",
    .summary = "Sizes transactions up.",
    .config_schema = "{\"type\": \"object\", \"required\": [\"large\"], \"additionalProperties\": false, \"properties\": "
                     "{\"large\": {\"type\": \"number\", \"description\": \"Amounts from here on are large.\"}}}",
    .may_be_passed_by = true,
    .reads = READS, .read_count = TG_COUNT(READS), .row_bytes = sizeof(struct transaction),
    .writes = WRITES, .write_count = TG_COUNT(WRITES), .written_bytes = sizeof(struct sized),
    .rules = RULES, .rule_count = TG_COUNT(RULES),
    .configure = configure,
    .transform = size,
};
