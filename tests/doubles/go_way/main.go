// Prints how Go's net/http reaches each URL of the command line, as one JSON object per line.
// It reads the proxy variables of its environment, as crane, skopeo and ctr do.
package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
)

type way struct {
	Proxy string `json:"proxy"`
	Login string `json:"login"`
	Error string `json:"error"`
}

func main() {
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for _, text := range os.Args[1:] {
		var found way
		target, err := url.Parse(text)
		if err == nil {
			var proxy *url.URL
			proxy, err = http.ProxyFromEnvironment(&http.Request{URL: target})
			if proxy != nil {
				found.Proxy = proxy.Scheme + "://" + proxy.Host
				if proxy.User != nil {
					password, _ := proxy.User.Password()
					found.Login = proxy.User.Username() + ":" + password
				}
			}
		}
		if err != nil {
			found.Error = err.Error()
		}
		if err := out.Encode(found); err != nil {
			panic(err)
		}
	}
}
