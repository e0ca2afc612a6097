// {{name}} sizes transactions up.
package main

import tidegate "github.com/tidegate/tidegate/sdk/go"

// Config is what the operator writes under `config`. The doc tags are what they read.
type Config struct {
	Large float64 `json:"large" doc:"Amounts from here on are large."`
}

// Transaction is what is read: the members of these names, or where a tag says.
type Transaction struct {
	Amount   float64                   // required: the host rejects rows without it
	Currency tidegate.Optional[string] // may be absent
	At       tidegate.Timestamp        `path:"time.utc"`
}

// Size is one of some strings.
type Size uint32

// The sizes.
const (
	Small Size = iota
	Large
)

// Labels are how the sizes stand in records.
func (Size) Labels() []string { return []string{"small", "large"} }

// Sized is what is written.
type Sized struct {
	Size      Size
	IsForeign tidegate.Field[bool] // left as it is where nothing sets it
	Day       tidegate.Date
}

var negative = &tidegate.Rule{ID: "negative-amount", Field: "amount", Text: "The amount is not negative."}

var plugin = tidegate.Export(tidegate.Map(tidegate.About{
	Name:          "{{name}}",
	Version:       "0.1.0",
	Summary:       "Sizes transactions up.",
	Rules:         []*tidegate.Rule{negative},
	MayBePassedBy: true,
}, size))

func size(call *tidegate.Call[Config], in *Transaction) (Sized, error) {
	if in.Amount < 0 {
		return Sized{}, negative.Reject()
	}
	out := Sized{Day: in.At.Date()}
	if in.Amount >= call.Config.Large {
		out.Size = Large
	}
	if currency, is := in.Currency.Get(); is {
		out.IsForeign = tidegate.Set(currency != "EUR")
	}
	return out, nil
}

func main() {}
