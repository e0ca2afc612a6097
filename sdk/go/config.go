package tidegate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// ConfigError is a config that is refused: where, as a JSON Pointer into it, and why.
type ConfigError struct {
	Pointer string
	Message string
}

func (e *ConfigError) Error() string {
	if e.Pointer == "" {
		return "config: " + e.Message
	}
	return e.Pointer + ": " + e.Message
}

// ConfigErrorAt refuses a config for what is at a JSON Pointer such as "/bands/3/label". A config
// type that has a method Check() error returns one, to check more than types.
func ConfigErrorAt(pointer, message string) error { return &ConfigError{pointer, message} }

// decodeConfig fills a config type from JSON. It is not left to encoding/json alone, which does not
// say at which place of a list it failed, knows no required field and no nearest name: JSON becomes
// values there, and values become the type here.
func decodeConfig(text []byte, config any) *ConfigError {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return &ConfigError{Message: "the config is no JSON: " + err.Error()}
	}
	if err := decodeInto(value, reflect.ValueOf(config).Elem(), ""); err != nil {
		return err
	}
	checker, is := config.(interface{ Check() error })
	if !is {
		return nil
	}
	switch err := checker.Check().(type) {
	case nil:
		return nil
	case *ConfigError:
		return err
	default:
		return &ConfigError{Message: err.Error()}
	}
}

func decodeInto(value any, to reflect.Value, pointer string) *ConfigError {
	switch to.Kind() {
	case reflect.Pointer:
		if value == nil {
			return nil
		}
		to.Set(reflect.New(to.Type().Elem()))
		return decodeInto(value, to.Elem(), pointer)
	case reflect.Struct:
		return decodeStruct(value, to, pointer)
	case reflect.Slice:
		items, is := value.([]any)
		if !is {
			return expected("a list", value, pointer)
		}
		to.Set(reflect.MakeSlice(to.Type(), len(items), len(items)))
		for i, item := range items {
			if err := decodeInto(item, to.Index(i), pointer+"/"+strconv.Itoa(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		return decodeMap(value, to, pointer)
	case reflect.String:
		text, is := value.(string)
		if !is {
			return expected("a string", value, pointer)
		}
		to.SetString(text)
	case reflect.Bool:
		flag, is := value.(bool)
		if !is {
			return expected("a boolean", value, pointer)
		}
		to.SetBool(flag)
	case reflect.Float64, reflect.Float32:
		number, is := value.(json.Number)
		if !is {
			return expected("a number", value, pointer)
		}
		float, err := number.Float64()
		if err != nil {
			return &ConfigError{pointer, "the number is out of range"}
		}
		to.SetFloat(float)
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8:
		number, is := value.(json.Number)
		if !is {
			return expected("an integer", value, pointer)
		}
		integer, err := strconv.ParseInt(number.String(), 10, to.Type().Bits())
		if err != nil {
			return expected("an integer of "+strconv.Itoa(to.Type().Bits())+" bits", value, pointer)
		}
		to.SetInt(integer)
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		number, is := value.(json.Number)
		if !is {
			return expected("an integer that is not negative", value, pointer)
		}
		integer, err := strconv.ParseUint(number.String(), 10, to.Type().Bits())
		if err != nil {
			return expected("an integer of "+strconv.Itoa(to.Type().Bits())+" bits that is not negative", value, pointer)
		}
		to.SetUint(integer)
	case reflect.Interface:
		if value != nil {
			to.Set(reflect.ValueOf(value))
		}
	default:
		panic(fmt.Sprintf("a config can't hold a %s", to.Type()))
	}
	return nil
}

func decodeStruct(value any, to reflect.Value, pointer string) *ConfigError {
	object, is := value.(map[string]any)
	if !is {
		return expected("an object", value, pointer)
	}
	var names []string
	for i := range to.NumField() {
		name, _ := configField(to.Type().Field(i))
		names = append(names, name)
		if field, isThere := object[name]; isThere {
			if err := decodeInto(field, to.Field(i), pointer+"/"+escapePointer(name)); err != nil {
				return err
			}
		}
	}
	if unknown, is := firstUnknown(object, names); is {
		return &ConfigError{pointer + "/" + escapePointer(unknown), unknownField(unknown, names)}
	}
	// Only now: what is missing may well be what was unknown, misspelt.
	for i := range to.NumField() {
		name, optional := configField(to.Type().Field(i))
		if _, isThere := object[name]; !isThere && !optional {
			return &ConfigError{pointer, "missing field `" + name + "`"}
		}
	}
	return nil
}

func decodeMap(value any, to reflect.Value, pointer string) *ConfigError {
	object, is := value.(map[string]any)
	if !is {
		return expected("an object", value, pointer)
	}
	to.Set(reflect.MakeMap(to.Type()))
	for _, key := range sortedKeys(object) {
		item := reflect.New(to.Type().Elem()).Elem()
		if err := decodeInto(object[key], item, pointer+"/"+escapePointer(key)); err != nil {
			return err
		}
		to.SetMapIndex(reflect.ValueOf(key).Convert(to.Type().Key()), item)
	}
	return nil
}

// configField is the name of a field in a config, by its json tag, and whether it may be left out:
// a pointer, or a tag with omitempty.
func configField(field reflect.StructField) (name string, optional bool) {
	name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
	if name == "" {
		name = snakeCase(field.Name)
	}
	return name, field.Type.Kind() == reflect.Pointer || strings.Contains(options, "omitempty")
}

func firstUnknown(object map[string]any, names []string) (string, bool) {
	for _, key := range sortedKeys(object) {
		if indexOf(names, key) < 0 {
			return key, true
		}
	}
	return "", false
}

func unknownField(unknown string, names []string) string {
	message := "unknown field `" + unknown + "`, expected one of `" + strings.Join(names, "`, `") + "`"
	nearest, distance := "", 1<<30
	for _, name := range names {
		if d := editDistance(unknown, name); d < distance {
			nearest, distance = name, d
		}
	}
	if distance <= 1+len(nearest)/3 {
		message += "; did you mean `" + nearest + "`?"
	}
	return message
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func sortedKeys(object map[string]any) []string {
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func escapePointer(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

func expected(what string, value any, pointer string) *ConfigError {
	found := "null"
	switch value.(type) {
	case bool:
		found = "a boolean"
	case json.Number:
		found = "a number"
	case string:
		found = "a string"
	case []any:
		found = "a list"
	case map[string]any:
		found = "an object"
	}
	return &ConfigError{pointer, "expected " + what + ", found " + found}
}

// configSchema is the JSON Schema of a config type. A field's doc tag is its description.
func configSchema(of reflect.Type) string {
	schema := schemaOf(of)
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	text, err := json.Marshal(schema)
	if err != nil {
		panic("a schema is made of maps, lists and strings: " + err.Error())
	}
	return string(text)
}

func schemaOf(of reflect.Type) map[string]any {
	switch of.Kind() {
	case reflect.Pointer:
		return schemaOf(of.Elem())
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(of.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(of.Elem())}
	case reflect.Struct:
		properties, required := map[string]any{}, []string{}
		for i := range of.NumField() {
			name, optional := configField(of.Field(i))
			property := schemaOf(of.Field(i).Type)
			if doc := of.Field(i).Tag.Get("doc"); doc != "" {
				property["description"] = doc
			}
			properties[name] = property
			if !optional {
				required = append(required, name)
			}
		}
		return map[string]any{
			"type": "object", "properties": properties, "required": required, "additionalProperties": false,
		}
	}
	return map[string]any{}
}
