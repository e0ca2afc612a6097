// A batch in, a reply out: the loop over rows.

#include "internal.h"

int32_t tg_current_row = -1;

static size_t width_of(tg_kind kind) {
    switch (kind) {
    case TG_BOOLEAN: return 1;
    case TG_DATE:
    case TG_ENUMERATION: return 4;
    case TG_INT64:
    case TG_TIMESTAMP:
    case TG_FLOAT64: return 8;
    default: return sizeof(tg_text);
    }
}

static bool is_text(tg_kind kind) { return kind == TG_UTF8 || kind == TG_JSON; }

static void fill(const tg_read *read, const tg_column_in *column, uint32_t row, char *member) {
    switch (read->kind) {
    case TG_BOOLEAN: *(bool *)member = ((const uint8_t *)column->values)[row] != 0; break;
    case TG_INT64:
    case TG_TIMESTAMP: *(int64_t *)member = ((const int64_t *)column->values)[row]; break;
    case TG_FLOAT64: *(double *)member = ((const double *)column->values)[row]; break;
    case TG_DATE: *(int32_t *)member = ((const int32_t *)column->values)[row]; break;
    case TG_ENUMERATION: *(uint32_t *)member = ((const uint32_t *)column->values)[row]; break;
    default: {
        const uint32_t *offsets = column->values;
        *(tg_text *)member = (tg_text){column->bytes + offsets[row], offsets[row + 1] - offsets[row]};
    }
    }
    uint8_t absence = column->presence ? column->presence[row] : TG_PRESENT;
    if (read->optional) {
        ((uint8_t *)member)[width_of(read->kind)] = absence;
    } else if (absence != TG_PRESENT) {
        tg_panic("a required field is absent, and the host should have rejected the row");
    }
}

// Adds a row to a column. The contract's 0 sets and 1 leaves; ours are the other way round.
static void take(const tg_write *write, tg_column_out *column, uint32_t rows_before, const char *member) {
    size_t width = width_of(write->kind);
    uint8_t action = !member ? TG_LEAVE : write->optional ? ((const uint8_t *)member)[width] : TG_SET;
    if (action != TG_SET || column->presence.bytes > 0) {
        while (column->presence.bytes < rows_before) tg_push_u8(&column->presence, 0);
        tg_push_u8(&column->presence, action < TG_SET_NULL ? action ^ 1 : action);
    }
    if (is_text(write->kind)) {
        const tg_text *text = (const tg_text *)member;
        bool is_set = action == TG_SET;
        tg_texts_push(&column->values, is_set ? text->at : NULL, is_set ? text->length : 0);
        return;
    }
    void *to = tg_push(&column->values.offsets, width);
    if (action == TG_SET) {
        memcpy(to, member, width);
    } else {
        memset(to, 0, width);
    }
}

static void push_row(tg_call *call, const void *written) {
    for (size_t i = 0; i < tg_the_plugin.write_count; i++) {
        const tg_write *write = &tg_the_plugin.writes[i];
        take(write, &call->out[i], call->written, written ? (const char *)written + write->offset : NULL);
    }
    call->written++;
}

static void judge(tg_call *call, tg_verdict verdict) {
    if (call->verdicts.bytes == 0) memset(tg_push(&call->verdicts, call->rows), 0, call->rows);
    ((uint8_t *)call->verdicts.at)[call->row] = (uint8_t)verdict;
}

static void note(tg_call *call, uint32_t rule, const char *detail) {
    if (rule >= tg_the_plugin.rule_count) tg_panic("there is no such rule");
    tg_push_u32(&call->finding_rows, call->row);
    tg_push_u32(&call->finding_rules, rule);
    size_t length = detail ? strlen(detail) : 0;
    tg_texts_push(&call->details, detail, length);
    call->has_details = call->has_details || length > 0;
}

static tg_verdict refuse(tg_call *call, tg_verdict verdict, uint32_t rule, const char *detail) {
    call->refused_rule = rule;
    call->refused_detail = detail;
    return verdict;
}

tg_verdict tg_reject(tg_call *call, uint32_t rule, const char *detail) { return refuse(call, TG_REJECT, rule, detail); }

tg_verdict tg_drop(tg_call *call, uint32_t rule, const char *detail) { return refuse(call, TG_DROP, rule, detail); }

void tg_find(tg_call *call, uint32_t rule, const char *detail) {
    *(tg_found *)tg_push(&call->found, sizeof(tg_found)) = (tg_found){rule, detail};
}

void tg_emit(tg_call *call, const void *written) {
    if (!tg_the_plugin.fans_out) tg_panic("tg_emit is for plugins that fan out");
    push_row(call, written);
    tg_push_u32(&call->parents, call->row);
    call->emitted++;
}

void *tg_state(tg_call *call) {
    if (!tg_the_plugin.state_bytes) tg_panic("the plugin keeps no state");
    uint32_t key = call->state_rows[call->row];
    if (!call->states[key]) {
        void *state = tg_allocate(tg_the_plugin.state_bytes);
        memset(state, 0, tg_the_plugin.state_bytes);
        call->states[key] = state;
        tg_reader reader = {call->state_bytes + call->state_offsets[key], call->state_bytes + call->state_offsets[key + 1]};
        if (reader.at != reader.end) {
            tg_the_plugin.decode_state(&reader, state);
            if (reader.at != reader.end) tg_panic("the stored state is not one of this state version");
        }
    }
    return call->states[key];
}

static void close_states(tg_call *call) {
    for (uint32_t key = 0; key < call->state_count; key++) {
        if (!call->states[key]) continue;
        tg_writer writer = {0};
        tg_the_plugin.encode_state(&writer, call->states[key]);
        uint32_t before = call->state_offsets[key + 1] - call->state_offsets[key];
        const uint8_t *bytes = call->state_bytes + call->state_offsets[key];
        if (before == writer.bytes.bytes && memcmp(bytes, writer.bytes.at, before) == 0) continue;
        tg_push_u32(&call->changed_keys, key);
        tg_texts_push(&call->changed_states, writer.bytes.at, writer.bytes.bytes);
    }
}

void tg_run(tg_call *call) {
    void *row = tg_allocate(tg_the_plugin.row_bytes);
    void *written = tg_allocate(tg_the_plugin.written_bytes);
    call->out = tg_allocate(tg_the_plugin.write_count * sizeof(tg_column_out));
    memset(call->out, 0, tg_the_plugin.write_count * sizeof(tg_column_out));
    call->states = tg_allocate(call->state_count * sizeof(void *));
    memset(call->states, 0, call->state_count * sizeof(void *));
    for (uint32_t at = 0; at < call->rows; at++) {
        call->row = at;
        tg_current_row = (int32_t)at;
        for (size_t i = 0; i < tg_the_plugin.read_count; i++) {
            const tg_read *read = &tg_the_plugin.reads[i];
            fill(read, &call->columns[i], at, (char *)row + read->offset);
        }
        if (tg_the_plugin.state_bytes) tg_state(call);
        memset(written, 0, tg_the_plugin.written_bytes);
        call->emitted = 0;
        call->found.bytes = 0;
        tg_verdict verdict = tg_the_plugin.transform(call, row, written);
        if (verdict != TG_EMIT) {
            if (call->emitted) tg_panic("rows were emitted for a row that is refused");
            judge(call, verdict);
            note(call, call->refused_rule, call->refused_detail);
            if (!tg_the_plugin.fans_out) push_row(call, NULL);
        } else if (!tg_the_plugin.fans_out) {
            push_row(call, written);
        } else if (!call->emitted) {
            if (!call->found.bytes) tg_panic("nothing is emitted for the row, and no rule says why: drop it by one");
            judge(call, TG_DROP);
        }
        // After a refusal: the first finding of a refused row is what refuses it.
        const tg_found *found = call->found.at;
        for (size_t i = 0; i < call->found.bytes / sizeof(tg_found); i++) note(call, found[i].rule, found[i].detail);
    }
    tg_current_row = -1;
    if (tg_the_plugin.fans_out && call->written == 0) {
        // No parents mean one row for each, so there is one for each, which nobody looks at.
        for (uint32_t at = 0; at < call->rows; at++) push_row(call, NULL);
    }
    close_states(call);
}
