package tidegate

// The contract's binary interface: the canonical ABI of wit/plugin.wit at 0.1.0, by hand. It is
// frozen with the contract, and the structs below are its whole layout: a list is an address and a
// length, a variant a byte and the largest of its cases.
//
// The host's lists are looked at where they lie. Those of numbers lie in an arena that is used
// again for the next batch; those of bytes, into which a row's texts point, are the collector's, so
// that a text that somebody keeps stays what it was.

import (
	"runtime"
	"strconv"
	"strings"
	"unsafe"
)

//go:wasmimport tidegate:plugin/host@0.1.0 log
func importedLog(level uint32, text unsafe.Pointer, length uint32)

//go:wasmimport tidegate:plugin/host@0.1.0 fault
func importedFault(hasRow, row uint32, text unsafe.Pointer, length uint32)

// What the SDK's own adapter for WASI takes besides: see sdk/build/src/wasi-stub.wat.

//go:wasmimport wasi_snapshot_preview1 tidegate_begin
func adapterBegin(nanoseconds int64)

//go:wasmimport wasi_snapshot_preview1 tidegate_trap
func adapterTrap()

func hostLog(level Level, message string) {
	importedLog(uint32(level), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
}

// list is a list in memory.
type list struct{ at, length uint32 }

// lent is what the host reads after a call returned, and the collector must not take before.
var lent []any

func lend[T any](values []T) list {
	if len(values) == 0 {
		return list{8, 0} // an address that every list may have
	}
	return list{uint32(uintptr(unsafe.Pointer(unsafe.SliceData(values)))), uint32(len(values))}
}

// keep lends values that nothing else holds on to.
func keep[T any](values []T) list {
	lent = append(lent, values)
	return lend(values)
}

func keepString(text string) list { return keep([]byte(text)) }

func seen[T any](at, length uint32) []T {
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(uintptr(at))), length)
}

func (l list) String() string { return string(seen[byte](l.at, l.length)) }

// binaryLists, valuesVariant and columnRecord are `binary`, `values` and `column`.
type binaryLists struct{ offsets, bytes list }

type valuesVariant struct {
	kind kind
	binaryLists
}

type columnRecord struct {
	values   valuesVariant
	presence list
}

type replyRecord struct {
	verdicts, parents, columns list
	findingRows, findingRules  list
	details                    binaryLists
	changedKeys                list
	changedStates              binaryLists
}

type aboutRecord struct {
	name, version, summary, schema, capabilities list
	stateVersion                                 uint32
	mayBePassedBy                                bool
}

type segmentVariant struct {
	isIndex bool
	text    list // or the index in its first word
}

type kindVariant struct {
	kind   kind
	labels list // or the format in its first byte
}

type originVariant struct {
	which   uint8 // field, host, lookup
	payload [3]list
}

type readRecord struct {
	from     originVariant
	kind     kindVariant
	required bool
}

type writeRecord struct {
	path list
	kind kindVariant
}

type ruleRecord struct {
	id                  list
	dimension, severity uint8
	_                   [0]uint32 // an option begins at a multiple of four
	hasField            bool
	field               list
	text                list
}

type descriptionRecord struct {
	reads, writes, rules list
	hasState             bool
	key                  list
}

type configureResult struct {
	isError bool
	descriptionRecord
}

type configureError struct {
	isError          bool
	pointer, message list
}

//go:wasmexport tidegate:plugin/plugin@0.1.0#describe
func exportDescribe() unsafe.Pointer {
	defer fault()
	plugin := exported
	if plugin == nil {
		panic("the program exports no plugin: call tidegate.Export in an init function")
	}
	var capabilities []list
	for _, name := range plugin.capabilities {
		capabilities = append(capabilities, keepString(name))
	}
	answer := &aboutRecord{
		name:          keepString(plugin.about.Name),
		version:       keepString(plugin.about.Version),
		summary:       keepString(plugin.about.Summary),
		schema:        keepString(configSchema(plugin.configType)),
		capabilities:  keep(capabilities),
		stateVersion:  plugin.about.StateVersion,
		mayBePassedBy: plugin.about.MayBePassedBy,
	}
	lent = append(lent, answer)
	return unsafe.Pointer(answer)
}

// configured is the instance that the config made.
var configured instance

//go:wasmexport tidegate:plugin/plugin@0.1.0#configure
func exportConfigure(at, length uint32) unsafe.Pointer {
	defer fault()
	adapterBegin(0)
	made, err := exported.configure(seen[byte](at, length))
	if err != nil {
		answer := &configureError{isError: true, pointer: keepString(err.Pointer), message: keepString(err.Message)}
		// The host reads as much as the larger case has.
		padded := &struct {
			configureError
			_ configureResult
		}{configureError: *answer}
		lent = append(lent, padded)
		return unsafe.Pointer(padded)
	}
	configured = made
	answered.columns = make([]column, len(exported.writes))
	for i := range answered.columns {
		answered.columns[i].kind = exported.writes[i].kind
	}
	columnsOut = make([]columnRecord, len(exported.writes))
	answer := &configureResult{descriptionRecord: exported.describe()}
	lent = append(lent, answer)
	return unsafe.Pointer(answer)
}

func (p *Plugin) describe() descriptionRecord {
	var reads []readRecord
	for i := range p.reads {
		reads = append(reads, p.reads[i].record())
	}
	var writes []writeRecord
	for i := range p.writes {
		write := &p.writes[i]
		writes = append(writes, writeRecord{pathLists(write.path), kindOf(write.kind, write.labels, write.format)})
	}
	var rules []ruleRecord
	for _, rule := range p.about.Rules {
		rules = append(rules, rule.record())
	}
	answer := descriptionRecord{reads: keep(reads), writes: keep(writes), rules: keep(rules), hasState: p.keepsState}
	if p.keepsState {
		answer.key = keep(p.key)
	}
	return answer
}

func (r *read) record() readRecord {
	record := readRecord{kind: kindOf(r.kind, r.labels, r.format), required: r.required}
	switch {
	case r.host >= 0:
		record.from.which = 1
		record.from.payload[0].at = uint32(r.host)
	case r.lookup != nil:
		var keys []list
		for _, key := range r.lookup.keys {
			keys = append(keys, pathLists(key))
		}
		record.from.which = 2
		record.from.payload = [3]list{keepString(r.lookup.table), keep(keys), keepString(r.lookup.column)}
	default:
		record.from.payload[0] = pathLists(r.path)
	}
	return record
}

func (r *Rule) record() ruleRecord {
	// The contract's order begins with completeness, and with the mildest severity.
	dimensions := [...]uint8{Validity: 1, Completeness: 0, Uniqueness: 2, Consistency: 3, Timeliness: 4, Accuracy: 5}
	record := ruleRecord{
		id: keepString(r.ID), dimension: dimensions[r.Dimension], severity: 2 - uint8(r.Severity), text: keepString(r.Text),
	}
	if r.Field != "" {
		path, err := parsePath(r.Field)
		if err != nil {
			panic("the field of the rule " + r.ID + " is no path: " + err.Error())
		}
		record.hasField, record.field = true, pathLists(path)
	}
	return record
}

func pathLists(path []segment) list {
	var segments []segmentVariant
	for _, step := range path {
		if step.isIndex {
			segments = append(segments, segmentVariant{isIndex: true, text: list{at: step.index}})
		} else {
			segments = append(segments, segmentVariant{text: keepString(step.key)})
		}
	}
	return keep(segments)
}

func kindOf(of kind, labels []string, format uint8) kindVariant {
	variant := kindVariant{kind: of}
	switch of {
	case kindTimestamp:
		variant.labels.at = uint32(format)
	case kindEnumeration:
		var texts []list
		for _, label := range labels {
			texts = append(texts, keepString(label))
		}
		variant.labels = keep(texts)
	}
	return variant
}

// The memory of a batch and its reply, which is used again for the next.
var (
	called     batch
	answered   reply
	columnsOut []columnRecord
	replyOut   replyRecord
)

//go:wasmexport tidegate:plugin/plugin@0.1.0#transform
func exportTransform(
	rows, columnsAt, columnsLength, stateRowsAt, stateRowsLength, stateOffsetsAt, stateOffsetsLength, stateBytesAt, stateBytesLength uint32,
) unsafe.Pointer {
	defer fault()
	called.rows = int(rows)
	called.columns = called.columns[:0]
	for _, record := range seen[columnRecord](columnsAt, columnsLength) {
		called.columns = append(called.columns, record.column())
	}
	called.states.rows = seen[uint32](stateRowsAt, stateRowsLength)
	called.states.values.offsets = seen[uint32](stateOffsetsAt, stateOffsetsLength)
	called.states.values.bytes = seen[byte](stateBytesAt, stateBytesLength)
	adapterBegin(batchTime())
	answered.reset()
	configured.transform(&called, &answered)
	release()
	answered.lower()
	return unsafe.Pointer(&replyOut)
}

func (r *columnRecord) column() column {
	of := column{kind: r.values.kind, presence: seen[byte](r.presence.at, r.presence.length)}
	values := r.values.offsets
	switch of.kind {
	case kindBoolean:
		of.bytes = seen[byte](values.at, values.length)
	case kindInt64, kindTimestamp:
		of.integers = seen[int64](values.at, values.length)
	case kindFloat64:
		of.floats = seen[float64](values.at, values.length)
	case kindDate:
		of.days = seen[int32](values.at, values.length)
	case kindEnumeration:
		of.codes = seen[uint32](values.at, values.length)
	default:
		of.texts.offsets = seen[uint32](values.at, values.length)
		of.texts.bytes = seen[byte](r.values.bytes.at, r.values.bytes.length)
	}
	return of
}

func (r *reply) lower() {
	for i := range r.columns {
		from, to := &r.columns[i], &columnsOut[i]
		to.values.kind = from.kind
		to.presence = lend(from.presence)
		switch from.kind {
		case kindBoolean:
			to.values.offsets = lend(from.bytes)
		case kindInt64, kindTimestamp:
			to.values.offsets = lend(from.integers)
		case kindFloat64:
			to.values.offsets = lend(from.floats)
		case kindDate:
			to.values.offsets = lend(from.days)
		case kindEnumeration:
			to.values.offsets = lend(from.codes)
		default:
			to.values.offsets, to.values.bytes = lend(from.texts.offsets), lend(from.texts.bytes)
		}
	}
	replyOut = replyRecord{
		verdicts: lend(r.verdicts), parents: lend(r.parents), columns: lend(columnsOut),
		findingRows: lend(r.findings.rows), findingRules: lend(r.findings.rules),
		details:       binaryLists{lend(r.findings.details.offsets), lend(r.findings.details.bytes)},
		changedKeys:   lend(r.keys),
		changedStates: binaryLists{lend(r.states.offsets), lend(r.states.bytes)},
	}
}

// batchTime is the batch's time in nanoseconds, for a plugin that reads it, else 0.
func batchTime() int64 {
	for i := range exported.reads {
		if exported.reads[i].host == hostBatchTime && called.rows > 0 {
			return called.columns[i].integers[0] * 1000
		}
	}
	return 0
}

// arena holds the lists of numbers of a batch.
var arena struct {
	block []uint64
	used  int
	full  [][]uint64 // blocks before it, in this batch
	bytes [][]byte   // lists of bytes, which the collector gets back
}

// realloc gives the host room for a list. It is called by the name cabi_realloc.
//
//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldLength, align, length uint32) unsafe.Pointer {
	if old != nil {
		panic("the host grows no list")
	}
	if align == 1 {
		bytes := make([]byte, length)
		arena.bytes = append(arena.bytes, bytes)
		return unsafe.Pointer(unsafe.SliceData(bytes))
	}
	words := int(length+7) / 8
	if arena.used+words > len(arena.block) {
		arena.full = append(arena.full, arena.block)
		arena.block, arena.used = make([]uint64, max(2*len(arena.block), words, 512)), 0
	}
	at := unsafe.Pointer(unsafe.SliceData(arena.block[arena.used:]))
	arena.used += words
	return at
}

// release forgets the batch's lists once the plugin is done with them.
func release() {
	arena.used = 0
	clear(arena.full)
	arena.full = arena.full[:0]
	clear(arena.bytes)
	arena.bytes = arena.bytes[:0]
}

// fault is deferred by every export: it tells the host why a panic ends the instance and on which
// row, and ends it, before the runtime prints a trace in a hundred pieces.
func fault() {
	panicked := recover()
	if panicked == nil {
		return
	}
	message := describePanic(panicked) + panicLocation()
	var hasRow uint32
	if currentRow >= 0 {
		hasRow = 1
	}
	importedFault(hasRow, uint32(currentRow), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
	adapterTrap()
}

func describePanic(panicked any) string {
	switch panicked := panicked.(type) {
	case string:
		return panicked
	case error:
		return panicked.Error()
	case interface{ String() string }:
		return panicked.String()
	default:
		return "panic"
	}
}

// panicLocation is the first place on the stack that is neither the runtime's nor ours.
func panicLocation() string {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	for {
		frame, more := frames.Next()
		ours := strings.HasPrefix(frame.Function, "runtime.") ||
			strings.HasPrefix(frame.Function, "github.com/tidegate/tidegate/sdk/go.")
		if frame.Function != "" && !ours {
			return ", at " + frame.File + ":" + strconv.Itoa(frame.Line)
		}
		if !more {
			return ""
		}
	}
}
