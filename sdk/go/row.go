package tidegate

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unsafe"
)

// access is where a column's values stand in a struct.
type access struct {
	name   string
	kind   kind
	offset uintptr
	// optional fields have a second word, the absence of an Optional or the action of a Field.
	optional bool
	second   uintptr
}

// read is a column that a plugin reads.
type read struct {
	access
	path     []segment // of a field
	host     int       // of a host value, else -1
	lookup   *lookup
	labels   []string
	format   uint8
	isKey    bool
	required bool
}

// lookup is a cell of a table that the host joins before the call.
type lookup struct {
	table  string
	keys   [][]segment
	column string
}

// write is a column that a plugin writes.
type write struct {
	access
	path   []segment
	labels []string
	format uint8
}

var hostValues = []string{
	"@record-id", "@partition", "@position", "@partition-key", "@arrival-time", "@batch-time", "@source",
}

const hostBatchTime = 5

var formats = []string{"rfc3339", "unix-seconds", "unix-milliseconds", "unix-microseconds"}

// readsOf says what a struct reads, field by field. A mistake in a tag is the author's, and found
// by the first test or the first build that configures the plugin.
func readsOf(row reflect.Type) []read {
	var reads []read
	for _, field := range fieldsOf(row, "In") {
		access, labels := accessOf(row, field, reflect.TypeFor[Absence]())
		one := read{access: access, host: -1, labels: labels, format: formatOf(row, field)}
		one.required = !access.optional
		one.isKey = field.Tag.Get("state") == "key"
		host, isHost := field.Tag.Lookup("host")
		table, isLookup := field.Tag.Lookup("lookup")
		switch {
		case isHost:
			one.host = indexOf(hostValues, host)
			if one.host < 0 {
				panic(wrongTag(row, field, "`%s` is no host value; it is one of %s", host, strings.Join(hostValues, ", ")))
			}
			one.required = false
		case isLookup:
			one.lookup = lookupOf(row, field, table)
		default:
			one.path = pathOf(row, field)
		}
		reads = append(reads, one)
	}
	return reads
}

// writesOf says what a struct writes, field by field.
func writesOf(row reflect.Type) []write {
	var writes []write
	for _, field := range fieldsOf(row, "Out") {
		access, labels := accessOf(row, field, reflect.TypeFor[action]())
		path := pathOf(row, field)
		writes = append(writes, write{access, path, labels, formatOf(row, field)})
	}
	return writes
}

func fieldsOf(row reflect.Type, which string) []reflect.StructField {
	if row.Kind() != reflect.Struct {
		panic(fmt.Sprintf("the %s of a plugin is a struct, not %s", which, row))
	}
	var fields []reflect.StructField
	for i := range row.NumField() {
		field := row.Field(i)
		if !field.IsExported() {
			panic(fmt.Sprintf("%s.%s is not exported, so it can't be read or written", row, field.Name))
		}
		fields = append(fields, field)
	}
	return fields
}

// accessOf finds a field's kind from its type: T, or an Optional or a Field of T, which are told by
// the type of their second word.
func accessOf(row reflect.Type, field reflect.StructField, second reflect.Type) (access, []string) {
	found := access{name: field.Name, offset: field.Offset}
	of := field.Type
	if of.Kind() == reflect.Struct && of.NumField() == 2 && of.Field(1).Type == second {
		found.optional = true
		found.second = field.Offset + of.Field(1).Offset
		of = of.Field(0).Type
	}
	if of.Kind() == reflect.Uint32 && of.Implements(reflect.TypeFor[Enumeration]()) {
		found.kind = kindEnumeration
		return found, reflect.Zero(of).Interface().(Enumeration).Labels()
	}
	switch of {
	case reflect.TypeFor[bool]():
		found.kind = kindBoolean
	case reflect.TypeFor[int64]():
		found.kind = kindInt64
	case reflect.TypeFor[float64]():
		found.kind = kindFloat64
	case reflect.TypeFor[Timestamp]():
		found.kind = kindTimestamp
	case reflect.TypeFor[Date]():
		found.kind = kindDate
	case reflect.TypeFor[string]():
		found.kind = kindUTF8
	case reflect.TypeFor[JSON]():
		found.kind = kindJSON
	default:
		panic(fmt.Sprintf("%s.%s is of type %s, which no column holds; it is bool, int64, float64, string, "+
			"tidegate.Timestamp, Date, JSON or an Enumeration, or an Optional (read) or a Field (written) of one",
			row, field.Name, field.Type))
	}
	return found, nil
}

func pathOf(row reflect.Type, field reflect.StructField) []segment {
	text, isSaid := field.Tag.Lookup("path")
	if !isSaid {
		return []segment{{key: snakeCase(field.Name)}}
	}
	path, err := parsePath(text)
	if err != nil {
		panic(wrongTag(row, field, "`%s` is not a path: %s", text, err))
	}
	return path
}

// lookupOf reads `lookup:"merchants" by:"merchant.id" column:"risk"`. A key of several fields
// separates them by blanks.
func lookupOf(row reflect.Type, field reflect.StructField, table string) *lookup {
	found := &lookup{table: table, column: field.Tag.Get("column")}
	for _, text := range strings.Fields(field.Tag.Get("by")) {
		path, err := parsePath(text)
		if err != nil {
			panic(wrongTag(row, field, "`%s` is not a path: %s", text, err))
		}
		found.keys = append(found.keys, path)
	}
	if found.column == "" {
		found.column = snakeCase(field.Name)
	}
	if table == "" || len(found.keys) == 0 {
		panic(wrongTag(row, field, "a look-up is said as `lookup:\"table\" by:\"path\" column:\"name\"`"))
	}
	return found
}

func formatOf(row reflect.Type, field reflect.StructField) uint8 {
	text, isSaid := field.Tag.Lookup("format")
	if !isSaid {
		return 0
	}
	format := indexOf(formats, text)
	if format < 0 {
		panic(wrongTag(row, field, "`%s` is no format of timestamps; it is one of %s", text, strings.Join(formats, ", ")))
	}
	return uint8(format)
}

func wrongTag(row reflect.Type, field reflect.StructField, format string, values ...any) string {
	return fmt.Sprintf("%s.%s: %s", row, field.Name, fmt.Sprintf(format, values...))
}

func indexOf(names []string, name string) int {
	for i, known := range names {
		if known == name {
			return i
		}
	}
	return -1
}

// snakeCase is the name of a field in records: MerchantID is merchant_id.
func snakeCase(name string) string {
	var snake strings.Builder
	runes := []rune(name)
	for i, c := range runes {
		isStart := unicode.IsUpper(c) && i > 0 &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if isStart {
			snake.WriteByte('_')
		}
		snake.WriteRune(unicode.ToLower(c))
	}
	return snake.String()
}

// fill writes rows from..from+count of a column into a slice of structs: one loop a column, with no
// question asked for each row.
func (r *read) fill(c *column, from, count int, rows unsafe.Pointer, stride uintptr) {
	at := unsafe.Add(rows, r.offset)
	to := from + count
	switch r.kind {
	case kindBoolean:
		for _, value := range c.bytes[from:to] {
			*(*bool)(at) = value != 0
			at = unsafe.Add(at, stride)
		}
	case kindInt64, kindTimestamp:
		spread(c.integers[from:to], at, stride)
	case kindFloat64:
		spread(c.floats[from:to], at, stride)
	case kindDate:
		spread(c.days[from:to], at, stride)
	case kindEnumeration:
		spread(c.codes[from:to], at, stride)
	default:
		// One string over all texts: each row's is a part of it, and nothing is copied.
		all := unsafe.String(unsafe.SliceData(c.texts.bytes), len(c.texts.bytes))
		offsets := c.texts.offsets[from : to+1]
		start := offsets[0]
		for _, end := range offsets[1:] {
			*(*string)(at) = all[start:end]
			start = end
			at = unsafe.Add(at, stride)
		}
	}
	if r.optional {
		r.fillAbsences(c, from, to, unsafe.Add(rows, r.second), stride)
	} else if len(c.presence) > 0 {
		for _, found := range c.presence[from:to] {
			if found != 0 {
				panic("the required field " + r.name + " is " + absenceOf(found).String() +
					", and the host should have rejected the row")
			}
		}
	}
}

func (r *read) fillAbsences(c *column, from, to int, at unsafe.Pointer, stride uintptr) {
	if len(c.presence) == 0 {
		for range to - from {
			*(*Absence)(at) = present
			at = unsafe.Add(at, stride)
		}
		return
	}
	for _, found := range c.presence[from:to] {
		*(*Absence)(at) = absenceOf(found)
		at = unsafe.Add(at, stride)
	}
}

// absenceOf turns the contract's byte, where 0 is a value, into ours, where 0 is a missing one.
func absenceOf(found byte) Absence {
	if found < 2 {
		found ^= 1
	}
	return Absence(found)
}

func spread[T any](values []T, at unsafe.Pointer, stride uintptr) {
	for _, value := range values {
		*(*T)(at) = value
		at = unsafe.Add(at, stride)
	}
}

// take appends the values of a slice of structs to a column.
func (w *write) take(c *column, count int, rows unsafe.Pointer, stride uintptr) {
	at := unsafe.Add(rows, w.offset)
	before := w.rows(c)
	switch w.kind {
	case kindBoolean:
		c.bytes = gather(c.bytes, count, at, stride)
	case kindInt64, kindTimestamp:
		c.integers = gather(c.integers, count, at, stride)
	case kindFloat64:
		c.floats = gather(c.floats, count, at, stride)
	case kindDate:
		c.days = gather(c.days, count, at, stride)
	case kindEnumeration:
		c.codes = gather(c.codes, count, at, stride)
	default:
		if len(c.texts.offsets) == 0 {
			c.texts.offsets = append(c.texts.offsets, 0)
		}
		for range count {
			c.texts.bytes = append(c.texts.bytes, *(*string)(at)...)
			c.texts.offsets = append(c.texts.offsets, uint32(len(c.texts.bytes)))
			at = unsafe.Add(at, stride)
		}
	}
	if !w.optional {
		if len(c.presence) > 0 {
			c.presence = append(c.presence, make([]byte, count)...)
		}
		return
	}
	at = unsafe.Add(rows, w.second)
	for row := range count {
		if done := *(*action)(at); done != set || len(c.presence) > 0 {
			c.act(before+row, done)
		}
		at = unsafe.Add(at, stride)
	}
}

// act says what is done in a row, after all rows before it.
func (c *column) act(row int, done action) {
	for len(c.presence) < row {
		c.presence = append(c.presence, 0)
	}
	// The contract's 0 sets and 1 leaves; ours are the other way round.
	if done < null {
		done ^= 1
	}
	c.presence = append(c.presence, byte(done))
}

// rows tells how many rows a column has.
func (w *write) rows(c *column) int {
	switch w.kind {
	case kindBoolean:
		return len(c.bytes)
	case kindInt64, kindTimestamp:
		return len(c.integers)
	case kindFloat64:
		return len(c.floats)
	case kindDate:
		return len(c.days)
	case kindEnumeration:
		return len(c.codes)
	default:
		return max(len(c.texts.offsets)-1, 0)
	}
}

func gather[T any](values []T, count int, at unsafe.Pointer, stride uintptr) []T {
	for range count {
		values = append(values, *(*T)(at))
		at = unsafe.Add(at, stride)
	}
	return values
}
