module github.com/tidegate/tidegate/sdk/conformance/go

go 1.24

require github.com/tidegate/tidegate/sdk/go v0.0.0

replace github.com/tidegate/tidegate/sdk/go => ../../go
