//go:build !wasip1

package tidegate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"
)

// Harness runs a plugin on JSON records as a host would, in an ordinary test, without WebAssembly: it
// projects records into columns, calls the plugin, and writes what it says into the records. It keeps
// states from one run to the next. Every run is repeated row by row on a fresh instance, and a reply
// that differs is an error: the plugin is impure.
//
// It is a small host. It leaves out limits, selection by `when` and the exact spelling of numbers;
// `tidegate plugin test` runs the component itself.
type Harness struct {
	// BatchTime is what @batch-time is: 2026-03-01T12:00:00Z where nothing else is said.
	BatchTime time.Time
	// Lookups are the rows of look-up tables by table and key, a JSON array of the key's values:
	// Lookups["merchants"][`["m1"]`]["risk"].
	Lookups map[string]map[string]map[string]any

	plugin *Plugin
	config []byte
	states map[string][]byte
}

// Outcome is what became of a record.
type Outcome struct {
	// Verdict is "emit", "drop" or "reject".
	Verdict string
	// Records that go on in its place, as JSON.
	Records []string
	// Findings are ids of rules, with their details behind a colon.
	Findings []string
}

// NewHarness configures a plugin. The config is JSON; an empty one is {}.
func NewHarness(plugin *Plugin, config string) (*Harness, error) {
	if config == "" {
		config = "{}"
	}
	if _, err := plugin.configure([]byte(config)); err != nil {
		return nil, err
	}
	return &Harness{
		BatchTime: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		plugin:    plugin, config: []byte(config), states: map[string][]byte{},
	}, nil
}

// Run runs records, which are JSON, as one batch.
func (h *Harness) Run(records ...string) ([]Outcome, error) {
	before := maps.Clone(h.states)
	outcomes, err := h.run(records)
	if err != nil {
		return nil, err
	}
	after := h.states
	h.states = before
	var apart []Outcome
	for _, record := range records {
		one, err := h.run([]string{record})
		if err != nil {
			return nil, err
		}
		apart = append(apart, one...)
	}
	if !reflect.DeepEqual(outcomes, apart) || !reflect.DeepEqual(after, h.states) {
		return nil, fmt.Errorf("the plugin is impure: together it answers %+v, row by row %+v", outcomes, apart)
	}
	return outcomes, nil
}

func (h *Harness) run(texts []string) ([]Outcome, error) {
	outcomes := make([]Outcome, len(texts))
	var records []any
	var places []int
	for i, text := range texts {
		record, err := parseJSON(text)
		if err != nil {
			return nil, fmt.Errorf("record %d is no JSON: %w", i, err)
		}
		if missing := h.missing(record); missing != "" {
			outcomes[i] = Outcome{Verdict: "reject", Findings: []string{"required: " + missing}}
			continue
		}
		records, places = append(records, record), append(places, i)
	}
	called := batch{rows: len(records)}
	for i := range h.plugin.reads {
		read := &h.plugin.reads[i]
		column := column{kind: read.kind}
		for _, record := range records {
			column.push(read, h.value(read, record))
		}
		if !bytes.ContainsFunc(column.presence, func(found rune) bool { return found != 0 }) {
			column.presence = nil
		}
		called.columns = append(called.columns, column)
	}
	keys := h.keys(records, &called)
	answered := reply{columns: make([]column, len(h.plugin.writes))}
	instance, refused := h.plugin.configure(h.config)
	if refused != nil {
		return nil, refused
	}
	instance.transform(&called, &answered)
	for i, key := range answered.keys {
		h.states[keys[key]] = bytes.Clone(answered.states.at(i))
	}
	h.settle(&answered, records, func(row int) *Outcome { return &outcomes[places[row]] })
	return outcomes, nil
}

// missing is the first required field that a record lacks.
func (h *Harness) missing(record any) string {
	for i := range h.plugin.reads {
		read := &h.plugin.reads[i]
		column := column{kind: read.kind}
		if column.push(read, h.value(read, record)); read.required && column.presence[0] != 0 {
			return read.name
		}
	}
	return ""
}

func (h *Harness) value(read *read, record any) any {
	switch {
	case read.host >= 0:
		if strings.HasSuffix(hostValues[read.host], "-time") {
			return h.BatchTime.Format(time.RFC3339Nano)
		}
		return "test"
	case read.lookup != nil:
		var key []any
		for _, path := range read.lookup.keys {
			key = append(key, valueAt(record, path))
		}
		text, _ := json.Marshal(key)
		value, is := h.Lookups[read.lookup.table][string(text)][read.lookup.column]
		if !is {
			return missingValue{}
		}
		return normalize(value)
	default:
		return valueAt(record, read.path)
	}
}

func (h *Harness) keys(records []any, called *batch) []string {
	var keys []string
	for _, record := range records {
		var values []any
		for _, read := range h.plugin.key {
			values = append(values, h.value(&h.plugin.reads[read], record))
		}
		text, _ := json.Marshal(values)
		key := indexOf(keys, string(text))
		if key < 0 {
			key, keys = len(keys), append(keys, string(text))
			called.states.values.push(string(h.states[string(text)]))
		}
		called.states.rows = append(called.states.rows, uint32(key))
	}
	return keys
}

func (h *Harness) settle(answered *reply, records []any, outcome func(row int) *Outcome) {
	for row := range records {
		verdict := emitted
		if len(answered.verdicts) > 0 {
			verdict = answered.verdicts[row]
		}
		outcome(row).Verdict = [...]string{"emit", "drop", "reject"}[verdict]
	}
	for i, row := range answered.findings.rows {
		text := h.plugin.about.Rules[answered.findings.rules[i]].ID
		if len(answered.findings.details.offsets) > 0 {
			if detail := answered.findings.details.at(i); len(detail) > 0 {
				text += ": " + string(detail)
			}
		}
		outcome(int(row)).Findings = append(outcome(int(row)).Findings, text)
	}
	parents := answered.parents
	if len(parents) == 0 {
		for row := range records {
			parents = append(parents, uint32(row))
		}
	}
	for output, row := range parents {
		if outcome(int(row)).Verdict != "emit" {
			continue
		}
		record := normalize(records[row])
		for i := range h.plugin.writes {
			record = answered.columns[i].write(&h.plugin.writes[i], output, record)
		}
		text, err := json.Marshal(record)
		if err != nil {
			panic("what is written is JSON: " + err.Error())
		}
		outcome(int(row)).Records = append(outcome(int(row)).Records, string(text))
	}
}
