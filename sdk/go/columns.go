package tidegate

// kind is the type of a column, in the contract's order.
type kind uint8

const (
	kindBoolean kind = iota
	kindInt64
	kindFloat64
	kindTimestamp
	kindDate
	kindUTF8
	kindEnumeration
	kindJSON
)

func (k kind) String() string {
	return [...]string{"boolean", "int64", "float64", "timestamp", "date", "utf8", "enumeration", "json"}[k]
}

// Columns are what crosses the border. They are the same types natively, where tests fill them, and
// in a component, where they lie over the host's lists without a copy.

// binary is byte strings back to back: value i is bytes[offsets[i]:offsets[i+1]].
type binary struct {
	offsets []uint32
	bytes   []byte
}

func (b *binary) at(i int) []byte { return b.bytes[b.offsets[i]:b.offsets[i+1]] }

func (b *binary) push(value string) {
	b.bytes = append(b.bytes, value...)
	b.close()
}

func (b *binary) close() {
	if len(b.offsets) == 0 {
		b.offsets = append(b.offsets, 0)
	}
	b.offsets = append(b.offsets, uint32(len(b.bytes)))
}

func (b *binary) reset() {
	b.offsets = b.offsets[:0]
	b.bytes = b.bytes[:0]
}

// column is one value a row, in the one of its slices that its kind says, and which rows hold one.
type column struct {
	kind     kind
	bytes    []byte    // boolean
	integers []int64   // int64, timestamp
	floats   []float64 // float64
	days     []int32   // date
	codes    []uint32  // enumeration
	texts    binary    // utf8, json
	presence []byte    // empty where every row does
}

func (c *column) reset() {
	c.bytes = c.bytes[:0]
	c.integers = c.integers[:0]
	c.floats = c.floats[:0]
	c.days = c.days[:0]
	c.codes = c.codes[:0]
	c.texts.reset()
	c.presence = c.presence[:0]
}

// states are those of the distinct keys of a batch.
type states struct {
	rows   []uint32
	values binary
}

// batch is what a plugin is called with.
type batch struct {
	rows    int
	columns []column
	states  states
}

// The verdicts.
const (
	emitted  byte = 0
	dropped  byte = 1
	rejected byte = 2
)

// findings are what a plugin says of rows: rows[i] met rules[i].
type findings struct {
	rows    []uint32
	rules   []uint32
	details binary
}

func (f *findings) add(row, rule int, detail string) {
	if detail != "" && len(f.details.offsets) == 0 {
		for range len(f.rows) + 1 {
			f.details.offsets = append(f.details.offsets, 0)
		}
	}
	f.rows = append(f.rows, uint32(row))
	f.rules = append(f.rules, uint32(rule))
	if len(f.details.offsets) > 0 {
		f.details.push(detail)
	}
}

// reply is what a plugin answers. It is kept from one batch to the next, for its memory.
type reply struct {
	verdicts []byte
	parents  []uint32
	columns  []column
	findings findings
	keys     []uint32
	states   binary
}

func (r *reply) reset() {
	r.verdicts = r.verdicts[:0]
	r.parents = r.parents[:0]
	for i := range r.columns {
		r.columns[i].reset()
	}
	r.findings.rows = r.findings.rows[:0]
	r.findings.rules = r.findings.rules[:0]
	r.findings.details.reset()
	r.keys = r.keys[:0]
	r.states.reset()
}

func (r *reply) judge(rows, row int, verdict byte) {
	if len(r.verdicts) == 0 {
		for range rows {
			r.verdicts = append(r.verdicts, emitted)
		}
	}
	r.verdicts[row] = verdict
}
