// Tries a plugin's function in an ordinary native program, without WebAssembly.
#ifndef TIDEGATE_TEST_H
#define TIDEGATE_TEST_H

#include "tidegate.h"

// Configures the plugin with JSON that must be well-formed. NULL, or "<pointer>: <why>" where it is refused.
const char *tg_test_configure(const char *json);
// Calls the plugin's function for a row, with a state that stays from call to call.
tg_verdict tg_test_transform(const void *row, void *written);
// The id of the rule that refused the last row, or else of the first that was found in it, or NULL.
const char *tg_test_rule(void);
// How many rows the last call emitted, of a plugin that fans out.
uint32_t tg_test_emitted(void);

#endif
