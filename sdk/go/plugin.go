package tidegate

import (
	"fmt"
	"reflect"
	"unsafe"
)

// About is what is known of a plugin without a config.
type About struct {
	// Name as operators see it.
	Name string
	// Version, a semantic one.
	Version string
	// Summary is one sentence for people.
	Summary string
	// Rules that its rows may break.
	Rules []*Rule
	// StateVersion of a plugin that keeps state, 1 where it says none. Any change of the state's
	// type is a new version.
	StateVersion uint32
	// MayBePassedBy tells whether an operator may let records pass the plugin by while it is
	// broken. A plugin that validates or redacts says false.
	MayBePassedBy bool
}

// NoConfig is the config of a plugin that takes none.
type NoConfig struct{}

// Call is what a function is called with besides its row.
type Call[C any] struct {
	// Config of the stage.
	Config C

	found []finding
}

type finding struct {
	rule   *Rule
	detail string
}

// NewCall is a call under a config, for tests that call a function themselves.
func NewCall[C any](config C) *Call[C] { return &Call[C]{Config: config} }

// Find notes that the row breaks a rule, and lets it go on. The detail may be left out; it says
// what is wrong and never what the value was.
func (c *Call[C]) Find(rule *Rule, detail ...string) {
	noted := finding{rule: rule}
	if len(detail) > 0 {
		noted.detail = detail[0]
	}
	c.found = append(c.found, noted)
}

// Found are the ids of the rules that were noted, for tests that call a function themselves.
func (c *Call[C]) Found() []string {
	var ids []string
	for _, noted := range c.found {
		ids = append(ids, noted.rule.ID)
	}
	return ids
}

// Plugin is what a component is, made by [Map], [Fold], [Split] or [SplitFold].
type Plugin struct {
	about        About
	configType   reflect.Type
	reads        []read
	writes       []write
	key          []uint32
	keepsState   bool
	fansOut      bool
	configure    func(json []byte) (instance, *ConfigError)
	capabilities []string
}

// instance is a configured plugin.
type instance interface {
	transform(*batch, *reply)
}

// Map makes a plugin of a function from one row to one row.
func Map[C, In, Out any](about About, function func(*Call[C], *In) (Out, error)) *Plugin {
	return newPlugin(about, false, false, func(call *Call[C], row *In, _ *struct{}, emit func(Out)) error {
		out, err := function(call, row)
		if err == nil {
			emit(out)
		}
		return err
	})
}

// Fold makes a plugin of a function that also has the state of the row's key, which it may change.
// The key's fields are tagged `state:"key"`. A key that has no state yet has the zero value.
func Fold[C, In, Out, S any](about About, function func(*Call[C], *In, *S) (Out, error)) *Plugin {
	return newPlugin(about, true, false, func(call *Call[C], row *In, state *S, emit func(Out)) error {
		out, err := function(call, row, state)
		if err == nil {
			emit(out)
		}
		return err
	})
}

// Split makes a plugin of a function that emits any number of rows for one: copies of its record,
// each with what was emitted written to it. A row for which none is emitted is dropped, and says why
// by a rule.
func Split[C, In, Out any](about About, function func(*Call[C], *In, func(Out)) error) *Plugin {
	return newPlugin(about, false, true, func(call *Call[C], row *In, _ *struct{}, emit func(Out)) error {
		return function(call, row, emit)
	})
}

// SplitFold makes a plugin of a function that emits any number of rows and keeps state.
func SplitFold[C, In, Out, S any](about About, function func(*Call[C], *In, *S, func(Out)) error) *Plugin {
	return newPlugin(about, true, true, function)
}

func newPlugin[C, In, Out, S any](
	about About, keepsState, fansOut bool, function func(*Call[C], *In, *S, func(Out)) error,
) *Plugin {
	plugin := &Plugin{
		about:      about,
		configType: reflect.TypeFor[C](),
		reads:      readsOf(reflect.TypeFor[In]()),
		writes:     writesOf(reflect.TypeFor[Out]()),
		keepsState: keepsState,
		fansOut:    fansOut,
	}
	for i, rule := range about.Rules {
		rule.index = i
	}
	for i := range plugin.reads {
		if plugin.reads[i].isKey {
			plugin.key = append(plugin.key, uint32(i))
		}
	}
	if keepsState != (len(plugin.key) > 0) {
		panic(fmt.Sprintf("%s: a plugin that keeps state, and no other, has a key: `state:\"key\"` on fields of its row", about.Name))
	}
	if keepsState && about.StateVersion == 0 {
		plugin.about.StateVersion = 1
	}
	plugin.capabilities = plugin.asks()
	var kept *codec
	if keepsState {
		kept = codecOf(reflect.TypeFor[S]())
	}
	plugin.configure = func(json []byte) (instance, *ConfigError) {
		call := new(Call[C])
		if err := decodeConfig(json, &call.Config); err != nil {
			return nil, err
		}
		return newLoop(plugin, call, kept, function), nil
	}
	return plugin
}

// asks is what a plugin may ask of the host, which its description says by itself.
func (p *Plugin) asks() []string {
	var document, lookups bool
	for i := range p.reads {
		read := &p.reads[i]
		lookups = lookups || read.lookup != nil
		document = document || read.lookup == nil && read.host < 0 && len(read.path) == 0
	}
	for i := range p.writes {
		document = document || len(p.writes[i].path) == 0
	}
	var asked []string
	for _, one := range []struct {
		name string
		is   bool
	}{{"state", p.keepsState}, {"fan-out", p.fansOut}, {"document", document}, {"lookups", lookups}} {
		if one.is {
			asked = append(asked, one.name)
		}
	}
	return asked
}

// rowsAtOnce is how many rows are made structs at once: few enough to stay in a processor's cache.
const rowsAtOnce = 128

// loop runs a function over batches. Its memory is kept from one batch to the next, and nothing in
// it is the batch's when a call ends.
type loop[C, In, Out, S any] struct {
	plugin   *Plugin
	call     *Call[C]
	function func(*Call[C], *In, *S, func(Out)) error
	kept     *codec

	in      []In
	out     []Out
	refused []int // of the rows in out, those that are not emitted
	states  []S
	touched []bool
	bytes   []byte

	emitted int
	emit    func(Out)
}

func newLoop[C, In, Out, S any](
	plugin *Plugin, call *Call[C], kept *codec, function func(*Call[C], *In, *S, func(Out)) error,
) *loop[C, In, Out, S] {
	l := &loop[C, In, Out, S]{
		plugin: plugin, call: call, function: function, kept: kept,
		in:  make([]In, rowsAtOnce),
		out: make([]Out, 0, rowsAtOnce),
	}
	l.emit = func(out Out) {
		l.out = append(l.out, out)
		l.emitted++
	}
	return l
}

func (l *loop[C, In, Out, S]) transform(b *batch, r *reply) {
	l.openStates(b)
	for from := 0; from < b.rows; from += rowsAtOnce {
		count := min(rowsAtOnce, b.rows-from)
		for i := range l.plugin.reads {
			l.plugin.reads[i].fill(&b.columns[i], from, count, unsafe.Pointer(unsafe.SliceData(l.in)), unsafe.Sizeof(l.in[0]))
		}
		for i := range count {
			l.row(b, r, from+i, &l.in[i])
		}
		l.flush(r)
	}
	currentRow = -1
	if l.plugin.fansOut && len(r.parents) == 0 && b.rows > 0 {
		// No parents mean one row for each, so there is one for each, which nobody looks at.
		var nothing Out
		for row := range b.rows {
			l.out = append(l.out, nothing)
			l.refused = append(l.refused, row)
		}
		l.flush(r)
	}
	l.closeStates(b, r)
}

func (l *loop[C, In, Out, S]) row(b *batch, r *reply, row int, in *In) {
	currentRow = row
	var state *S
	if l.kept != nil {
		state = l.stateOf(b, row)
	}
	l.emitted = 0
	before := len(l.out)
	err := l.function(l.call, in, state, l.emit)
	switch {
	case err != nil:
		l.out = l.out[:before]
		l.refuse(b, r, row, err)
	case l.emitted == 0:
		if len(l.call.found) == 0 {
			panic("nothing is emitted for the row, and no rule says why: Drop it by one")
		}
		r.judge(b.rows, row, dropped)
	case l.plugin.fansOut:
		for range l.emitted {
			r.parents = append(r.parents, uint32(row))
		}
	}
	// After a refusal: the first finding of a refused row is what refuses it.
	for i := range l.call.found {
		l.find(r, row, l.call.found[i].rule, l.call.found[i].detail)
	}
	l.call.found = l.call.found[:0]
	if len(l.out) > 4*rowsAtOnce && l.plugin.fansOut {
		l.flush(r)
	}
}

func (l *loop[C, In, Out, S]) refuse(b *batch, r *reply, row int, err error) {
	refusal, is := err.(*Refusal)
	if !is {
		panic("the function returned an error that refuses no row by a rule: " + err.Error())
	}
	verdict := rejected
	if refusal.Dropped {
		verdict = dropped
	}
	r.judge(b.rows, row, verdict)
	l.find(r, row, refusal.Rule, refusal.Detail)
	if !l.plugin.fansOut {
		var nothing Out
		l.refused = append(l.refused, len(l.out))
		l.out = append(l.out, nothing)
	}
}

func (l *loop[C, In, Out, S]) find(r *reply, row int, rule *Rule, detail string) {
	if rule.index >= len(l.plugin.about.Rules) || l.plugin.about.Rules[rule.index] != rule {
		panic("the rule " + rule.ID + " is not among the plugin's Rules")
	}
	r.findings.add(row, rule.index, detail)
}

// flush turns the rows that were made into columns.
func (l *loop[C, In, Out, S]) flush(r *reply) {
	count := len(l.out)
	if count == 0 {
		return
	}
	for i := range l.plugin.writes {
		write, column := &l.plugin.writes[i], &r.columns[i]
		write.take(column, count, unsafe.Pointer(unsafe.SliceData(l.out)), unsafe.Sizeof(l.out[0]))
		if len(l.refused) > 0 {
			total := write.rows(column)
			for len(column.presence) < total {
				column.presence = append(column.presence, 0)
			}
			for _, row := range l.refused {
				column.presence[total-count+row] = 1
			}
		}
	}
	clear(l.out)
	l.out = l.out[:0]
	l.refused = l.refused[:0]
}

func (l *loop[C, In, Out, S]) openStates(b *batch) {
	if l.kept == nil {
		return
	}
	keys := max(len(b.states.values.offsets)-1, 0)
	var nothing S
	l.states, l.touched = l.states[:0], l.touched[:0]
	for range keys {
		l.states = append(l.states, nothing)
		l.touched = append(l.touched, false)
	}
}

func (l *loop[C, In, Out, S]) stateOf(b *batch, row int) *S {
	key := b.states.rows[row]
	state := &l.states[key]
	if !l.touched[key] {
		l.touched[key] = true
		if bytes := b.states.values.at(int(key)); len(bytes) > 0 {
			rest, ok := l.kept.decode(unsafe.Pointer(state), bytes)
			if !ok || len(rest) > 0 {
				panic("the stored state is not one of this state version")
			}
		}
	}
	return state
}

// closeStates sends back the states whose bytes changed.
func (l *loop[C, In, Out, S]) closeStates(b *batch, r *reply) {
	for key, touched := range l.touched {
		if !touched {
			continue
		}
		l.bytes = l.kept.encode(unsafe.Pointer(&l.states[key]), l.bytes[:0])
		if string(l.bytes) != string(b.states.values.at(key)) {
			r.keys = append(r.keys, uint32(key))
			r.states.bytes = append(r.states.bytes, l.bytes...)
			r.states.close()
		}
	}
}

// currentRow is the row that is being worked on, or -1: what a panic is blamed on.
var currentRow = -1
