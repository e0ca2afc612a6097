// Package tidegate is for writing Tidegate plugins in Go: two structs and a function.
//
// A plugin is a pure function over the fields of a record. It says which fields it reads and which
// it writes, and the host does the rest: it parses a record once for the whole chain, calls the
// plugin with a batch of just those fields as typed columns, and splices what comes back into the
// record's bytes.
//
// [Map] makes a plugin of a function from one struct to another. [Fold] also gives it the state of
// the row's key, [Split] lets it answer with any number of rows, and [SplitFold] does both. [Export]
// makes one of them what the component is. README.md is the manual; a [Harness] tries a
// plugin in an ordinary test, without WebAssembly.
//
// The package never does I/O, reads no clock and draws no random number. Only the files that end
// in _wasip1.go know the contract's binary interface; all others compile and run natively.
package tidegate
