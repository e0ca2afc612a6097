// Runs the plugin's function natively: cc -I <sdk>/include -o test <sdk>/src/*.c src/*.c tests/*.c && ./test

#include <assert.h>

#include "tidegate.h"
#include "tidegate_test.h"

// As in src/plugin.c.
struct transaction {
    double amount;
    TG_OPTIONAL(tg_text) currency;
    int64_t at;
};

struct sized {
    uint32_t size;
    TG_FIELD(bool) is_foreign;
    int32_t day;
};

int main(void) {
    assert(tg_test_configure("{\"large\": 100}") == NULL);

    struct transaction large = {.amount = 250, .currency = {.value = tg_text_of("USD")}, .at = 1772366400000000};
    struct sized sized;
    assert(tg_test_transform(&large, &sized) == TG_EMIT);
    assert(sized.size == 1 && sized.is_foreign.value && sized.day == 20513);

    struct transaction negative = {.amount = -1};
    assert(tg_test_transform(&negative, &sized) == TG_REJECT);
    assert(tg_text_is(tg_text_of(tg_test_rule()), "negative-amount"));
    return 0;
}
