package tidegate

import "time"

// Timestamp is a point in time, in microseconds since 1970-01-01T00:00:00Z.
type Timestamp int64

// Time is the same point as the standard library has it, in UTC.
func (t Timestamp) Time() time.Time { return time.UnixMicro(int64(t)).UTC() }

// TimestampOf is a time to the microsecond.
func TimestampOf(t time.Time) Timestamp { return Timestamp(t.UnixMicro()) }

const microsecondsInDay = 86_400_000_000

// Date is the day that the time lies in, in UTC.
func (t Timestamp) Date() Date {
	day := int64(t) / microsecondsInDay
	if int64(t)%microsecondsInDay < 0 {
		day--
	}
	return Date(day)
}

// Date is a calendar day, in days since 1970-01-01.
type Date int32

// Time is the day's first moment, in UTC.
func (d Date) Time() time.Time { return time.Unix(int64(d)*86_400, 0).UTC() }

// JSON is the raw text of a subtree. Where it is written the host refuses text that is no JSON.
type JSON string

// Enumeration is the type of a field that is one of some strings: a type made from uint32 whose
// values are indices into its labels.
//
//	type Size uint32
//
//	const (
//		Small Size = iota
//		Large
//	)
//
//	func (Size) Labels() []string { return []string{"small", "large"} }
type Enumeration interface {
	Labels() []string
}

// Absence says why a row has no value of the type that was asked for.
type Absence uint8

// Why there is no value.
const (
	// Missing: there is nothing at the path.
	Missing Absence = 0
	// present is not an absence: the row has a value.
	present Absence = 1
	// Null: a null.
	Null Absence = 2
	// OtherType: a value of another JSON type.
	OtherType Absence = 3
	// OutOfRange: the right type, but no such value in the kind.
	OutOfRange Absence = 4
	// Malformed: the right JSON type, but not the kind's syntax, as a timestamp that is none.
	Malformed Absence = 5
)

// String is a word for it, for a finding's detail.
func (a Absence) String() string {
	switch a {
	case present:
		return "present"
	case Missing:
		return "missing"
	case Null:
		return "null"
	case OtherType:
		return "of another type"
	case OutOfRange:
		return "out of range"
	default:
		return "malformed"
	}
}

// Optional is the type of a field that a row may lack. Its zero value is a missing one.
type Optional[T any] struct {
	value   T
	absence Absence
}

// Some is an optional value that is there.
func Some[T any](value T) Optional[T] { return Optional[T]{value, present} }

// None is an optional value that is not there.
func None[T any](why Absence) Optional[T] { return Optional[T]{absence: why} }

// Get is the value and true, or the zero value and false.
func (o Optional[T]) Get() (T, bool) { return o.value, o.absence == present }

// Or is the value, or another one where it is not there.
func (o Optional[T]) Or(other T) T {
	if o.absence == present {
		return o.value
	}
	return other
}

// IsPresent tells whether the value is there.
func (o Optional[T]) IsPresent() bool { return o.absence == present }

// Absence says why the value is not there; it means nothing where it is.
func (o Optional[T]) Absence() Absence { return o.absence }

// Field is the type of a field that is not always written: its value is set, left as it is, set to
// null or removed. Its zero value leaves it as it is.
type Field[T any] struct {
	value  T
	action action
}

// action is what is done with a path. Zero leaves it as it is, so that a Field that nobody touched
// does.
type action uint8

const (
	leave  action = 0
	set    action = 1
	null   action = 2
	remove action = 3
)

// Set sets the field to a value.
func Set[T any](value T) Field[T] { return Field[T]{value, set} }

// Leave leaves the field as it is, as a zero Field does.
func Leave[T any]() Field[T] { return Field[T]{} }

// SetNull sets the field to null.
func SetNull[T any]() Field[T] { return Field[T]{action: null} }

// Remove removes the field from the record.
func Remove[T any]() Field[T] { return Field[T]{action: remove} }

// Get is the value and true where the field is set.
func (f Field[T]) Get() (T, bool) { return f.value, f.action == set }

// FieldOf sets the field to the value where it is there, and else leaves it as it is.
func FieldOf[T any](value Optional[T]) Field[T] {
	if value.absence == present {
		return Set(value.value)
	}
	return Field[T]{}
}
