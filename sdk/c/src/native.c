// The host's side, natively: for tests.
#ifndef __wasm__

#include <stdio.h>
#include <stdlib.h>

#include "internal.h"
#include "tidegate_test.h"

// Never given back: a test ends soon.
void *tg_allocate(size_t bytes) {
    void *at = calloc(1, bytes ? bytes : 1);
    if (!at) abort();
    return at;
}

void tg_log(tg_level level, const char *message) { fprintf(stderr, "%d: %s\n", (int)level, message); }

_Noreturn void tg_panic(const char *message) {
    fprintf(stderr, "panic: %s\n", message);
    abort();
}

static tg_call call;
static void *state;

const char *tg_test_configure(const char *json) {
    tg_refused = (tg_refusal){0};
    tg_json root = {json, json + strlen(json), NULL, {0}, -1};
    if (tg_the_plugin.configure) tg_the_plugin.configure(&root);
    if (!tg_refused.why) return NULL;
    tg_text text = tg_join(tg_join(tg_refused.pointer, tg_text_of(": ")), tg_text_of(tg_refused.why));
    return tg_join(text, (tg_text){"", 1}).at;
}

tg_verdict tg_test_transform(const void *row, void *written) {
    static const uint32_t none;
    call = (tg_call){.rows = 1, .state_rows = &none, .states = &state, .refused_rule = UINT32_MAX};
    call.out = tg_allocate(tg_the_plugin.write_count * sizeof(tg_column_out));
    if (tg_the_plugin.state_bytes && !state) state = tg_allocate(tg_the_plugin.state_bytes);
    memset(written, 0, tg_the_plugin.written_bytes);
    return tg_the_plugin.transform(&call, row, written);
}

const char *tg_test_rule(void) {
    const tg_found *found = call.found.at;
    uint32_t rule = call.refused_rule != UINT32_MAX ? call.refused_rule : call.found.bytes ? found[0].rule : UINT32_MAX;
    return rule < tg_the_plugin.rule_count ? tg_the_plugin.rules[rule].id : NULL;
}

uint32_t tg_test_emitted(void) { return call.emitted; }

#endif
