package main

import (
	"testing"

	tidegate "github.com/tidegate/tidegate/sdk/go"
)

func TestTransactionsAreSized(t *testing.T) {
	harness, err := tidegate.NewHarness(plugin, `{"large": 100}`)
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := harness.Run(
		`{"amount": 250, "currency": "USD", "time": {"utc": "2026-03-01T12:00:00Z"}}`,
		`{"amount": -1, "time": {"utc": "2026-03-01T12:00:00Z"}}`,
	)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"amount":250,"currency":"USD","day":"2026-03-01","is_foreign":true,"size":"large","time":{"utc":"2026-03-01T12:00:00Z"}}`
	if got := outcomes[0].Records[0]; got != want {
		t.Errorf("got %s", got)
	}
	if outcomes[1].Findings[0] != "negative-amount" {
		t.Errorf("got %+v", outcomes[1])
	}
}
