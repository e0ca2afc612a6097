package tidegate

// Dimension is the dimension of data quality that a rule belongs to.
type Dimension uint8

// The dimensions. A rule that says none is of Validity.
const (
	// Validity: it has the right form: type, range, pattern, one of the allowed values.
	Validity Dimension = iota
	// Completeness: what should be there is there.
	Completeness
	// Uniqueness: it is there once.
	Uniqueness
	// Consistency: it agrees with other values.
	Consistency
	// Timeliness: it is as recent as it should be.
	Timeliness
	// Accuracy: it is what the world says.
	Accuracy
)

// Severity is what a finding means for its row.
type Severity uint8

// The severities. A rule that says none has SeverityReject.
const (
	// SeverityReject: the record is rejected.
	SeverityReject Severity = iota
	// SeverityWarn: worth looking at; the record goes on.
	SeverityWarn
	// SeverityInfo: worth counting.
	SeverityInfo
)

// Rule is what a row may break. It is declared once, as a variable of the package, listed in About,
// and named by every finding.
type Rule struct {
	// ID is unique in the plugin and stable across versions: "negative-amount".
	ID string
	// Dimension of data quality.
	Dimension Dimension
	// Severity of a finding.
	Severity Severity
	// Field that the rule is about, as a path, where it is about one.
	Field string
	// Text is one sentence for people: what holds where the rule is kept.
	Text string

	index int
}

// Reject refuses the row by the rule: it goes to the dead letters. The detail may be left out; it
// says what is wrong and never what the value was, for it shows in logs.
func (r *Rule) Reject(detail ...string) error { return refusal(r, rejected, detail) }

// Drop ends the row here, by the plugin's word: it is counted under the rule.
func (r *Rule) Drop(detail ...string) error { return refusal(r, dropped, detail) }

// Refusal is the error of a row that does not go on. [Rule.Reject] and [Rule.Drop] make one; a
// function that returns another error is taken for broken.
type Refusal struct {
	// Rule that refuses the row.
	Rule *Rule
	// Dropped tells a row that ends here from one that goes to the dead letters.
	Dropped bool
	// Detail is a word for people.
	Detail string
}

func (r *Refusal) Error() string {
	text := r.Rule.ID
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	return text
}

func refusal(rule *Rule, verdict byte, detail []string) error {
	refusal := &Refusal{Rule: rule, Dropped: verdict == dropped}
	if len(detail) > 0 {
		refusal.Detail = detail[0]
	}
	return refusal
}
