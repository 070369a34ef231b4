// Command armon is a SOCKS5 proxy made of github.com/armon/go-socks5, the
// library that most small Go proxies are built on, as a peer to compare with.
// It takes one argument, the address to listen on.
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"github.com/armon/go-socks5"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "armon: give one argument, the address to listen on, such as 127.0.0.1:1080")
		os.Exit(2)
	}
	// It writes a line for each connection that ends badly; the comparison is
	// about relaying, so nothing is written.
	server, err := socks5.New(&socks5.Config{Logger: log.New(io.Discard, "", 0)})
	if err == nil {
		err = server.ListenAndServe("tcp", os.Args[1])
	}
	fmt.Fprintln(os.Stderr, "armon:", err)
	os.Exit(1)
}
