package tidegate

import (
	"reflect"
	"strings"
	"testing"
)

type order struct {
	Price    float64
	Quantity int64
	Country  Optional[string] `path:"customer.country"`
	Status   Optional[status]
}

type status uint32

func (status) Labels() []string { return []string{"open", "paid"} }

type priced struct {
	Total      float64
	IsDomestic Field[bool]
	Status     Field[status]
}

type prices struct {
	Rounding *float64 `json:"rounding"`
	Bands    []struct {
		Label string `json:"label"`
	} `json:"bands,omitempty"`
}

var nothing = &Rule{ID: "nothing-ordered", Field: "quantity", Text: "Something is ordered."}
var odd = &Rule{ID: "odd", Severity: SeverityWarn, Text: "It is even."}

func price(call *Call[prices], in *order) (priced, error) {
	if in.Quantity < 1 {
		return priced{}, nothing.Reject("it is below one")
	}
	if in.Quantity%2 == 1 {
		call.Find(odd)
	}
	out := priced{Total: in.Price * float64(in.Quantity)}
	if country, is := in.Country.Get(); is {
		out.IsDomestic = Set(country == "DE")
	} else if in.Country.Absence() == Null {
		out.IsDomestic = SetNull[bool]()
	}
	if found, is := in.Status.Get(); is {
		out.Status = Set(1 - found)
	}
	return out, nil
}

func pricePlugin() *Plugin {
	return Map(About{Name: "price", Version: "1.0.0", Rules: []*Rule{nothing, odd}}, price)
}

func harness(t *testing.T, plugin *Plugin, config string) *Harness {
	t.Helper()
	harness, err := NewHarness(plugin, config)
	if err != nil {
		t.Fatal(err)
	}
	return harness
}

func run(t *testing.T, harness *Harness, records ...string) []Outcome {
	t.Helper()
	outcomes, err := harness.Run(records...)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestRowsAreReadJudgedAndWritten(t *testing.T) {
	outcomes := run(t, harness(t, pricePlugin(), ""),
		`{"price": 2.5, "quantity": 2, "customer": {"country": "DE"}, "status": "open"}`,
		`{"price": 1, "quantity": 1, "customer": {"country": null}, "status": "lost"}`,
		`{"price": 1, "quantity": 0}`,
		`{"price": 1}`,
	)
	equal(t, outcomes, []Outcome{
		{"emit", []string{`{"customer":{"country":"DE"},"is_domestic":true,"price":2.5,"quantity":2,"status":"paid","total":5}`}, nil},
		{"emit", []string{`{"customer":{"country":null},"is_domestic":null,"price":1,"quantity":1,"status":"lost","total":1}`}, []string{"odd"}},
		{"reject", nil, []string{"nothing-ordered: it is below one"}},
		{"reject", nil, []string{"required: Quantity"}},
	})
}

func TestMoreRowsThanAreMadeStructsAtOnce(t *testing.T) {
	var records []string
	for range 3*rowsAtOnce + 1 {
		records = append(records, `{"price": 1, "quantity": 1}`, `{"price": 1, "quantity": 0}`)
	}
	outcomes := run(t, harness(t, pricePlugin(), ""), records...)
	for i, outcome := range outcomes {
		equal(t, outcome.Verdict, []string{"emit", "reject"}[i%2])
	}
}

func TestConfigsAreRefusedWithAPlace(t *testing.T) {
	for _, wrong := range []struct{ config, pointer, word string }{
		{`{"bandz": []}`, "/bandz", "did you mean `bands`?"},
		{`{"bands": [{"label": "a"}, {"label": 3}]}`, "/bands/1/label", "expected a string, found a number"},
		{`{"bands": [{}]}`, "/bands/0", "missing field `label`"},
		{`[]`, "", "expected an object, found a list"},
	} {
		_, err := NewHarness(pricePlugin(), wrong.config)
		refused, is := err.(*ConfigError)
		if !is || refused.Pointer != wrong.pointer || !strings.Contains(refused.Message, wrong.word) {
			t.Errorf("%s: %v", wrong.config, err)
		}
	}
}

func TestStatesStay(t *testing.T) {
	type login struct {
		User   string `state:"key"`
		Failed bool
	}
	type streak struct{ Failures uint32 }
	type counted struct{ Failures int64 }
	plugin := Fold(About{Name: "streak"}, func(_ *Call[NoConfig], in *login, state *streak) (counted, error) {
		if state.Failures++; !in.Failed {
			state.Failures = 0
		}
		return counted{int64(state.Failures)}, nil
	})
	harness := harness(t, plugin, "")
	run(t, harness, `{"user": "a", "failed": true}`, `{"user": "b", "failed": true}`)
	outcomes := run(t, harness, `{"user": "a", "failed": true}`, `{"user": "a", "failed": true}`)
	equal(t, outcomes[1].Records, []string{`{"failed":true,"failures":3,"user":"a"}`})
}

func TestRowsSplit(t *testing.T) {
	type basket struct{ Items JSON }
	type item struct{ Number int64 }
	empty := &Rule{ID: "empty", Text: "There is something in it."}
	plugin := Split(About{Name: "split", Rules: []*Rule{empty}}, func(_ *Call[NoConfig], in *basket, emit func(item)) error {
		count := strings.Count(string(in.Items), ",")
		if count == 0 {
			return empty.Drop()
		}
		for i := range count {
			emit(item{int64(i)})
		}
		return nil
	})
	outcomes := run(t, harness(t, plugin, ""), `{"items": [1]}`, `{"items": [1,2,3]}`)
	equal(t, outcomes[0], Outcome{"drop", nil, []string{"empty"}})
	equal(t, outcomes[1].Records, []string{`{"items":[1,2,3],"number":0}`, `{"items":[1,2,3],"number":1}`})
	equal(t, run(t, harness(t, plugin, ""), `{"items": [1]}`)[0].Verdict, "drop")
}

func TestStatesStandInBytesAsInEverySDK(t *testing.T) {
	type inner struct{ Flag bool }
	type kept struct {
		Count uint32
		Name  string
		Last  *int64
		Seen  []uint16
		Pair  [2]int8
		Inner inner
	}
	codec := codecOf(reflect.TypeFor[kept]())
	last := int64(-2)
	value := kept{7, "ü", &last, []uint16{1, 2}, [2]int8{-1, 1}, inner{true}}
	bytes := codec.encode(reflect.ValueOf(&value).UnsafePointer(), nil)
	want := []byte{
		7, 0, 0, 0, 2, 0, 0, 0, 0xc3, 0xbc, 1, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 1, 0, 2, 0, 0xff, 1, 1,
	}
	equal(t, bytes, want)
	var back kept
	rest, ok := codec.decode(reflect.ValueOf(&back).UnsafePointer(), bytes)
	equal(t, ok && len(rest) == 0, true)
	equal(t, back, value)
	for cut := range bytes {
		if _, ok := codec.decode(reflect.ValueOf(new(kept)).UnsafePointer(), bytes[:cut]); ok {
			t.Errorf("it is whole when cut at %d", cut)
		}
	}
}

func TestPathsAreThoseOfRFC9535(t *testing.T) {
	key := func(name string) segment { return segment{key: name} }
	for text, want := range map[string][]segment{
		"$":                     nil,
		"merchant.id":           {key("merchant"), key("id")},
		"$.items[0].sku":        {key("items"), {index: 0, isIndex: true}, key("sku")},
		"['a.b'][\"c\\u00e9\"]": {key("a.b"), key("cé")},
		"['it\\'s']":            {key("it's")},
		"größe":                 {key("größe")},
	} {
		got, err := parsePath(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a..b", "a.*", "a[-1]", "a[01]", "a['b", "a-b", "a[b]", "a[4294967296]", "['\\x']", "['\\ud83d']"} {
		if path, err := parsePath(text); err == nil {
			t.Errorf("%s is no path, but %v", text, path)
		}
	}
}

func BenchmarkRows(b *testing.B) {
	plugin := pricePlugin()
	instance, _ := plugin.configure([]byte("{}"))
	called := batch{rows: 500}
	for i := range plugin.reads {
		column := column{kind: plugin.reads[i].kind}
		for range called.rows {
			value, _ := parseJSON([]string{"2.5", "2", `"DE"`, `"open"`}[i])
			column.push(&plugin.reads[i], value)
		}
		column.presence = nil
		called.columns = append(called.columns, column)
	}
	answered := reply{columns: make([]column, len(plugin.writes))}
	b.ReportAllocs()
	for b.Loop() {
		answered.reset()
		instance.transform(&called, &answered)
	}
}
