// The config: JSON that the host has checked, walked where it lies.

#include "internal.h"

static const char *blank(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

static const char *skip_text(const char *at, const char *end) {
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\') at++;
    }
    return at + 1;
}

// Past a value; the text is JSON, so brackets match.
static const char *skip(const char *at, const char *end) {
    if (*at == '"') return skip_text(at, end);
    if (*at != '{' && *at != '[') {
        while (at < end && *at != ',' && *at != '}' && *at != ']' && *at > ' ') at++;
        return at;
    }
    int depth = 0;
    while (at < end) {
        if (*at == '"') {
            at = skip_text(at, end);
            continue;
        }
        if (*at == '{' || *at == '[') depth++;
        if (*at == '}' || *at == ']') depth--;
        at++;
        if (depth == 0) break;
    }
    return at;
}

static void push_escaped(tg_buffer *pointer, tg_text name) {
    for (size_t i = 0; i < name.length; i++) {
        char c = name.at[i];
        if (c == '~' || c == '/') {
            tg_push_u8(pointer, '~');
            c = c == '~' ? '0' : '1';
        }
        tg_push_u8(pointer, (uint8_t)c);
    }
}

static void push_number(tg_buffer *pointer, uint32_t number) {
    if (number > 9) push_number(pointer, number / 10);
    tg_push_u8(pointer, (uint8_t)('0' + number % 10));
}

static void push_pointer(tg_buffer *pointer, const tg_json *value) {
    if (!value->parent) return;
    push_pointer(pointer, value->parent);
    tg_push_u8(pointer, '/');
    if (value->index >= 0) {
        push_number(pointer, (uint32_t)value->index);
    } else {
        push_escaped(pointer, value->name);
    }
}

tg_refusal tg_refused;

void tg_refuse(const tg_json *value, const char *why) {
    if (tg_refused.why) return;
    tg_buffer pointer = {0};
    push_pointer(&pointer, value);
    tg_refused = (tg_refusal){{pointer.at, pointer.bytes}, why};
}

static const char *c_string(tg_text text) {
    tg_text ended = tg_join(text, (tg_text){"", 1});
    return ended.at;
}

static const char *sentence(const char *before, tg_text name, const char *after) {
    return c_string(tg_join(tg_join(tg_text_of(before), name), tg_text_of(after)));
}

static void expected(const tg_json *value, const char *what) {
    const char *found = "a number";
    switch (*value->at) {
    case '{': found = "an object"; break;
    case '[': found = "a list"; break;
    case '"': found = "a string"; break;
    case 't':
    case 'f': found = "a boolean"; break;
    case 'n': found = "null"; break;
    }
    tg_text text = tg_join(tg_join(tg_text_of("expected "), tg_text_of(what)), tg_text_of(", found "));
    tg_refuse(value, c_string(tg_join(text, tg_text_of(found))));
}

// The next member of an object or item of a list, from a place after a bracket or a comma.
static bool next(const tg_json *in, const char **at, tg_json *member) {
    const char *end = in->end;
    *at = blank(*at, end);
    if (**at == ',') *at = blank(*at + 1, end);
    if (**at == '}' || **at == ']') return false;
    member->parent = in;
    member->name = (tg_text){0};
    if (*in->at == '{') {
        const char *name = *at;
        *at = skip_text(*at, end);
        member->name = (tg_text){name + 1, (size_t)(*at - name) - 2};
        *at = blank(blank(*at, end) + 1, end);
        member->index = -1;
    }
    member->at = *at;
    *at = skip(*at, end);
    member->end = *at;
    return true;
}

// Levenshtein's, of names that a plugin's author has chosen, and one cut to their size.
static size_t edit_distance(tg_text a, tg_text b) {
    size_t row[65];
    if (b.length > 64) return SIZE_MAX;
    for (size_t j = 0; j <= b.length; j++) row[j] = j;
    for (size_t i = 0; i < a.length; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b.length; j++) {
            size_t replaced = diagonal + (a.at[i] != b.at[j]);
            diagonal = row[j + 1];
            size_t nearer = (row[j + 1] < row[j] ? row[j + 1] : row[j]) + 1;
            row[j + 1] = nearer < replaced ? nearer : replaced;
        }
    }
    return row[b.length];
}

static void unknown(const tg_json *member, const tg_key *keys, size_t count) {
    tg_text nearest = {0};
    size_t distance = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        tg_text name = tg_text_of(keys[i].name);
        size_t apart = edit_distance(member->name, name);
        if (apart < distance) {
            nearest = name;
            distance = apart;
        }
    }
    const char *message = sentence("unknown field `", member->name, "`");
    if (distance <= 1 + nearest.length / 3) {
        message = sentence(sentence(message, (tg_text){0}, "; did you mean `"), nearest, "`?");
    }
    tg_refuse(member, message);
}

void tg_json_object(const tg_json *value, const tg_key *keys, size_t count) {
    if (*value->at != '{') {
        expected(value, "an object");
        return;
    }
    tg_json member;
    for (const char *at = value->at + 1; next(value, &at, &member);) {
        size_t i = 0;
        while (i < count && !tg_text_is(member.name, keys[i].name)) i++;
        if (i == count) {
            unknown(&member, keys, count);
            return;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (keys[i].required && !tg_json_member(value, keys[i].name, &member)) {
            tg_refuse(value, sentence("missing field `", tg_text_of(keys[i].name), "`"));
        }
    }
}

bool tg_json_member(const tg_json *object, const char *name, tg_json *member) {
    bool is_there = false;
    tg_json one;
    if (*object->at != '{') return false;
    // Of duplicates the last counts.
    for (const char *at = object->at + 1; next(object, &at, &one);) {
        if (tg_text_is(one.name, name)) {
            *member = one;
            is_there = true;
        }
    }
    return is_there;
}

bool tg_json_item(const tg_json *list, uint32_t index, tg_json *item) {
    if (*list->at != '[') {
        expected(list, "a list");
        return false;
    }
    uint32_t i = 0;
    for (const char *at = list->at + 1; next(list, &at, item); i++) {
        item->index = (int32_t)i;
        if (i == index) return true;
    }
    return false;
}

static double power_of_ten(int exponent) {
    double power = 1, base = 10;
    for (int left = exponent < 0 ? -exponent : exponent; left > 0; left /= 2, base *= base) {
        if (left % 2) power *= base;
    }
    return power;
}

double tg_json_number(const tg_json *value) {
    const char *at = value->at, *end = value->end;
    if (*at != '-' && (*at < '0' || *at > '9')) {
        expected(value, "a number");
        return 0;
    }
    bool is_negative = *at == '-';
    uint64_t digits = 0;
    int exponent = 0;
    bool in_fraction = false;
    for (at += is_negative; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.') {
            in_fraction = true;
        } else if (digits < UINT64_MAX / 10 - 1) {
            digits = digits * 10 + (uint64_t)(*at - '0');
            exponent -= in_fraction;
        } else {
            exponent += !in_fraction;
        }
    }
    if (at < end) {
        at++;
        bool is_small = *at == '-';
        int written = 0;
        for (at += *at == '-' || *at == '+'; at < end && written < 10000; at++) written = written * 10 + (*at - '0');
        exponent += is_small ? -written : written;
    }
    double number = (double)digits;
    number = exponent < 0 ? number / power_of_ten(exponent) : number * power_of_ten(exponent);
    return is_negative ? -number : number;
}

bool tg_json_boolean(const tg_json *value) {
    if (*value->at != 't' && *value->at != 'f') expected(value, "a boolean");
    return *value->at == 't';
}

static uint32_t hex4(const char *at) {
    uint32_t code = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        code = code * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return code;
}

static void push_utf8(tg_buffer *to, uint32_t code) {
    if (code < 0x80) {
        tg_push_u8(to, (uint8_t)code);
        return;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t heads[] = {0, 0xc0, 0xe0, 0xf0};
    tg_push_u8(to, (uint8_t)(heads[more] | code >> (6 * more)));
    while (more--) tg_push_u8(to, (uint8_t)(0x80 | ((code >> (6 * more)) & 0x3f)));
}

tg_text tg_json_text(const tg_json *value) {
    if (*value->at != '"') {
        expected(value, "a string");
        return (tg_text){"", 0};
    }
    tg_buffer text = {0};
    const char *end = value->end - 1;
    for (const char *at = value->at + 1; at < end; at++) {
        if (*at != '\\') {
            tg_push_u8(&text, (uint8_t)*at);
            continue;
        }
        switch (*++at) {
        case 'b': tg_push_u8(&text, '\b'); break;
        case 'f': tg_push_u8(&text, '\f'); break;
        case 'n': tg_push_u8(&text, '\n'); break;
        case 'r': tg_push_u8(&text, '\r'); break;
        case 't': tg_push_u8(&text, '\t'); break;
        case 'u': {
            uint32_t code = hex4(at + 1);
            at += 4;
            if (code >= 0xd800 && code < 0xdc00 && end - at > 6 && at[1] == '\\' && at[2] == 'u') {
                code = 0x10000 + ((code - 0xd800) << 10) + (hex4(at + 3) - 0xdc00);
                at += 6;
            }
            push_utf8(&text, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
            break;
        }
        default: tg_push_u8(&text, (uint8_t)*at);
        }
    }
    return (tg_text){text.at ? text.at : "", text.bytes};
}
