//go:build !wasip1

package tidegate

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// missingValue stands for nothing at a path.
type missingValue struct{}

func parseJSON(text string) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	return value, err
}

// normalize is a copy of a value, as it would come from JSON.
func normalize(value any) any {
	text, err := json.Marshal(value)
	if err != nil {
		panic("a value of a test is JSON: " + err.Error())
	}
	copied, err := parseJSON(string(text))
	if err != nil {
		panic("what was written as JSON is JSON: " + err.Error())
	}
	return copied
}

func valueAt(record any, path []segment) any {
	for _, step := range path {
		if step.isIndex {
			items, is := record.([]any)
			if !is || int(step.index) >= len(items) {
				return missingValue{}
			}
			record = items[step.index]
			continue
		}
		object, _ := record.(map[string]any)
		member, is := object[step.key]
		if !is {
			return missingValue{}
		}
		record = member
	}
	return record
}

// The contract's presence bytes of what is read.
const (
	foundValue      byte = 0
	foundNothing    byte = 1
	foundNull       byte = 2
	foundOtherType  byte = 3
	foundOutOfRange byte = 4
	foundMalformed  byte = 5
)

// push appends a value of JSON as the kind of the column, and its presence.
func (c *column) push(read *read, value any) {
	found := foundOtherType
	var text string
	var integer int64
	var float float64
	switch value := value.(type) {
	case missingValue:
		found = foundNothing
	case nil:
		found = foundNull
	case bool:
		if c.kind == kindBoolean {
			integer, found = int64(byteOf(value)), foundValue
		}
	case json.Number:
		integer, float, found = readNumber(c.kind, read.format, value)
	case string:
		text = value
		integer, found = readText(c.kind, read, value)
	}
	if c.kind == kindJSON && found > foundNothing {
		var buffer bytes.Buffer
		encoder := json.NewEncoder(&buffer)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(value); err != nil {
			panic("a value of JSON is JSON: " + err.Error())
		}
		text, found = strings.TrimSpace(buffer.String()), foundValue
		if value == nil {
			found = foundNull
		}
	}
	if found != foundValue {
		text, integer, float = "", 0, 0
	}
	c.presence = append(c.presence, found)
	switch c.kind {
	case kindBoolean:
		c.bytes = append(c.bytes, byte(integer))
	case kindInt64, kindTimestamp:
		c.integers = append(c.integers, integer)
	case kindFloat64:
		c.floats = append(c.floats, float)
	case kindDate:
		c.days = append(c.days, int32(integer))
	case kindEnumeration:
		c.codes = append(c.codes, uint32(integer))
	default:
		c.texts.push(text)
	}
}

func readNumber(kind kind, format uint8, number json.Number) (integer int64, float float64, found byte) {
	float, err := number.Float64()
	switch kind {
	case kindFloat64:
		if err != nil {
			return 0, 0, foundOutOfRange
		}
		return 0, float, foundValue
	case kindInt64:
		if integer, err := number.Int64(); err == nil {
			return integer, 0, foundValue
		}
		if float != math.Trunc(float) {
			return 0, 0, foundMalformed
		}
		if math.Abs(float) >= 1<<63 {
			return 0, 0, foundOutOfRange
		}
		return int64(float), 0, foundValue
	case kindTimestamp:
		if format == 0 {
			return 0, 0, foundOtherType
		}
		return int64(math.Round(float * unitOf(format))), 0, foundValue
	}
	return 0, 0, foundOtherType
}

// unitOf is how many microseconds the unit of a format has.
func unitOf(format uint8) float64 {
	return [...]float64{0, 1e6, 1e3, 1}[format]
}

func readText(kind kind, read *read, text string) (integer int64, found byte) {
	switch kind {
	case kindUTF8:
		return 0, foundValue
	case kindEnumeration:
		if code := indexOf(read.labels, text); code >= 0 {
			return int64(code), foundValue
		}
		return 0, foundOutOfRange
	case kindTimestamp:
		if read.format != 0 {
			return 0, foundOtherType
		}
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return 0, foundMalformed
		}
		return at.UnixMicro(), foundValue
	case kindDate:
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return 0, foundMalformed
		}
		return day.Unix() / 86_400, foundValue
	}
	return 0, foundOtherType
}

// write does to a record what a column says of an output row, and returns it.
func (c *column) write(write *write, row int, record any) any {
	done := byte(0)
	if len(c.presence) > 0 {
		done = c.presence[row]
	}
	switch done {
	case 0:
		return setAt(record, write.path, c.value(write, row))
	case 1:
		return record
	case 2:
		return setAt(record, write.path, nil)
	default:
		if len(write.path) == 0 {
			return record
		}
		last := write.path[len(write.path)-1]
		if object, is := valueAt(record, write.path[:len(write.path)-1]).(map[string]any); is {
			delete(object, last.key)
		}
		return record
	}
}

func (c *column) value(write *write, row int) any {
	switch write.kind {
	case kindBoolean:
		return c.bytes[row] != 0
	case kindInt64:
		return json.Number(strconv.FormatInt(c.integers[row], 10))
	case kindFloat64:
		return c.floats[row]
	case kindTimestamp:
		if write.format == 0 {
			return time.UnixMicro(c.integers[row]).UTC().Format(time.RFC3339Nano)
		}
		return float64(c.integers[row]) / unitOf(write.format)
	case kindDate:
		return Date(c.days[row]).Time().Format(time.DateOnly)
	case kindEnumeration:
		return write.labels[c.codes[row]]
	case kindUTF8:
		return string(c.texts.at(row))
	default:
		value, err := parseJSON(string(c.texts.at(row)))
		if err != nil {
			panic("what is written as JSON is no JSON: " + err.Error())
		}
		return value
	}
}

func setAt(record any, path []segment, value any) any {
	if len(path) == 0 {
		return value
	}
	step := path[0]
	if step.isIndex {
		items, is := record.([]any)
		if !is || int(step.index) >= len(items) {
			panic("the index of a write is in the list")
		}
		items[step.index] = setAt(items[step.index], path[1:], value)
		return items
	}
	if record == nil {
		record = map[string]any{}
	}
	object, is := record.(map[string]any)
	if !is {
		panic("the parent of a write is an object")
	}
	object[step.key] = setAt(object[step.key], path[1:], value)
	return object
}
