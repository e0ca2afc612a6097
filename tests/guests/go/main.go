// A guest that asks Go's runtime for what no plugin should: to see that it is answered inside, and
// that the host is told why an instance ends.
package main

import (
	"fmt"
	"math/rand"
	"os"
	"time"

	tidegate "github.com/tidegate/tidegate/sdk/go"
)

type row struct {
	Action string
	Now    tidegate.Timestamp `host:"@batch-time"`
}

type written struct{ Answer string }

var plugin = tidegate.Export(tidegate.Map(tidegate.About{Name: "go-wasi", Version: "1.0.0", Summary: "Asks too much."}, answer))

func answer(_ *tidegate.Call[tidegate.NoConfig], in *row) (written, error) {
	switch in.Action {
	case "print":
		fmt.Print("one ", "größe")
		fmt.Println(" line")
		println("builtin", 3)
		fmt.Fprintln(os.Stderr, "to stderr")
	case "clock":
		return written{time.Now().UTC().Format(time.RFC3339Nano)}, nil
	case "sleep":
		before := time.Now()
		time.Sleep(time.Hour)
		return written{time.Since(before).String()}, nil
	case "random":
		return written{fmt.Sprint(rand.Uint64(), rand.Uint64())}, nil
	case "environment":
		_, err := os.ReadFile("/etc/passwd")
		return written{fmt.Sprint(len(os.Args), len(os.Environ()), err != nil)}, nil
	case "nil-map":
		var none map[string]int
		none["a"] = 1
	case "index":
		none := []int{}
		return written{fmt.Sprint(none[len(in.Action)])}, nil
	case "nil-pointer":
		var none *row
		return written{none.Action}, nil
	case "recurse":
		return written{fmt.Sprint(recurse(0))}, nil
	case "goroutine":
		done := make(chan bool)
		go func() { panic("in a goroutine") }()
		<-done
	case "exit":
		os.Exit(3)
	case "deadlock":
		select {}
	case "hoard":
		var hoard [][]byte
		for {
			hoard = append(hoard, make([]byte, 1<<20))
		}
	}
	return written{"nothing"}, nil
}

func recurse(depth int) int {
	var room [1000]int
	room[depth%1000] = recurse(depth + 1)
	return room[0] + 1
}

func main() {}
