// The conformance plugin in Go: sdk/conformance/README.md says what it does.
package main

import (
	"strings"

	tidegate "github.com/tidegate/tidegate/sdk/go"
)

type config struct {
	Factor float64 `json:"factor" doc:"What floats are multiplied by; above zero."`
	Bands  []band  `json:"bands,omitempty" doc:"Nothing is done with them."`
}

type band struct {
	Label string   `json:"label"`
	Below *float64 `json:"below"`
}

func (c *config) Check() error {
	if c.Factor <= 0 {
		return tidegate.ConfigErrorAt("/factor", "it is not above zero")
	}
	return nil
}

type size uint32

const (
	small size = iota
	medium
	large
)

func (size) Labels() []string { return []string{"small", "medium", "large"} }

type row struct {
	Key       string `state:"key"`
	Action    string
	Boolean   tidegate.Optional[bool]               `path:"kinds.boolean"`
	Int64     tidegate.Optional[int64]              `path:"kinds.int64"`
	Float64   tidegate.Optional[float64]            `path:"kinds.float64"`
	Timestamp tidegate.Optional[tidegate.Timestamp] `path:"kinds.timestamp"`
	Unix      tidegate.Optional[tidegate.Timestamp] `path:"kinds.unix" format:"unix-milliseconds"`
	Date      tidegate.Optional[tidegate.Date]      `path:"kinds.date"`
	Text      tidegate.Optional[string]             `path:"['a.b'][0].text"`
	Size      tidegate.Optional[size]               `path:"kinds.size"`
	JSON      tidegate.Optional[tidegate.JSON]      `path:"kinds.json"`
	BatchTime tidegate.Timestamp                    `host:"@batch-time"`
	Risk      tidegate.Optional[float64]            `lookup:"merchants" by:"merchant.id" column:"risk"`
}

type written struct {
	Boolean   tidegate.Field[bool]               `path:"out.boolean"`
	Int64     tidegate.Field[int64]              `path:"out.int64"`
	Float64   tidegate.Field[float64]            `path:"out.float64"`
	Timestamp tidegate.Field[tidegate.Timestamp] `path:"out.timestamp"`
	Unix      tidegate.Field[tidegate.Timestamp] `path:"out.unix" format:"unix-milliseconds"`
	Date      tidegate.Field[tidegate.Date]      `path:"out.date"`
	Text      tidegate.Field[string]             `path:"out.text"`
	Size      tidegate.Field[size]               `path:"out.size"`
	JSON      tidegate.Field[tidegate.JSON]      `path:"out.json"`
	Risk      tidegate.Field[float64]            `path:"out.risk"`
	Absent    string                             `path:"out.absent"`
	Count     int64                              `path:"out.count"`
	Child     int64                              `path:"out.child"`
	At        tidegate.Timestamp                 `path:"out.at"`
}

type history struct {
	Count uint32
	Total float64
	Last  *string
	Seen  []int64
}

var (
	refused = &tidegate.Rule{ID: "refused", Field: "action", Text: "The action is not to refuse."}
	gone    = &tidegate.Rule{
		ID: "gone", Dimension: tidegate.Completeness, Severity: tidegate.SeverityInfo, Text: "The row is wanted.",
	}
	noted = &tidegate.Rule{
		ID: "noted", Dimension: tidegate.Consistency, Severity: tidegate.SeverityWarn, Field: "['a.b'][0].text",
		Text: "There is nothing to note.",
	}
)

var plugin = tidegate.Export(tidegate.SplitFold(tidegate.About{
	Name:          "conformance",
	Version:       "1.0.0",
	Summary:       "Answers the conformance cases.",
	Rules:         []*tidegate.Rule{refused, gone, noted},
	StateVersion:  3,
	MayBePassedBy: true,
}, answer))

func answer(call *tidegate.Call[config], in *row, state *history, emit func(written)) error {
	children := int64(1)
	switch in.Action {
	case "reject":
		return refused.Reject()
	case "reject-with-detail":
		call.Find(noted, "before it")
		return refused.Reject("größer als gedacht")
	case "drop":
		return gone.Drop()
	case "note":
		call.Find(noted)
	case "note-with-detail":
		call.Find(noted, "zwölf")
		call.Find(noted)
	case "split":
		children = in.Int64.Or(0)
		if children == 0 {
			call.Find(gone, "without children")
		}
	case "panic":
		panic("asked to panic")
	case "peek":
	default:
		state.count(in)
	}
	out := in.written(call.Config.Factor)
	out.Count = int64(state.Count)
	for out.Child = range children {
		emit(out)
	}
	return nil
}

func (h *history) count(in *row) {
	h.Count++
	h.Total += in.Float64.Or(0)
	if text, is := in.Text.Get(); is {
		text = strings.Clone(text)
		h.Last = &text
	}
	if integer, is := in.Int64.Get(); is {
		h.Seen = append(h.Seen, integer)
		h.Seen = h.Seen[max(len(h.Seen)-3, 0):]
	}
}

func (in *row) written(factor float64) written {
	var absent []string
	out := written{
		Boolean:   to(&absent, "boolean", in.Boolean, func(value bool) bool { return !value }),
		Int64:     to(&absent, "int64", in.Int64, func(value int64) int64 { return value }),
		Float64:   to(&absent, "float64", in.Float64, func(value float64) float64 { return value * factor }),
		Timestamp: to(&absent, "timestamp", in.Timestamp, func(value tidegate.Timestamp) tidegate.Timestamp { return value + 1 }),
		Unix:      to(&absent, "unix", in.Unix, func(value tidegate.Timestamp) tidegate.Timestamp { return value }),
		Date:      to(&absent, "date", in.Date, func(value tidegate.Date) tidegate.Date { return value + 1 }),
		Text:      to(&absent, "text", in.Text, func(value string) string { return value + "!" }),
		Size:      to(&absent, "size", in.Size, func(value size) size { return (value + 1) % 3 }),
		JSON:      to(&absent, "json", in.JSON, func(value tidegate.JSON) tidegate.JSON { return "[" + value + "]" }),
		Risk:      to(&absent, "risk", in.Risk, func(value float64) float64 { return value }),
		At:        in.BatchTime,
	}
	out.Absent = strings.Join(absent, ", ")
	return out
}

// to turns what was read into what is written: a value into a value, a null into a null, another
// type into a removal; what is missing, out of range or malformed is left as it is.
func to[T any](absent *[]string, name string, value tidegate.Optional[T], change func(T) T) tidegate.Field[T] {
	if found, is := value.Get(); is {
		return tidegate.Set(change(found))
	}
	*absent = append(*absent, name+" "+value.Absence().String())
	switch value.Absence() {
	case tidegate.Null:
		return tidegate.SetNull[T]()
	case tidegate.OtherType:
		return tidegate.Remove[T]()
	default:
		return tidegate.Leave[T]()
	}
}

func main() {}
