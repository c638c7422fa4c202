// Says hello by HTTP, and which addresses it sees.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		addresses, _ := net.InterfaceAddrs()
		fmt.Fprintln(response, "hello from Go, which sees", addresses)
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
