// Command coredns serves the cluster's names.
//
// It is CoreDNS with the plugins a test cluster uses and no others. CoreDNS's own main also links its
// etcd plugin, whose client is newer than the etcd server pinned here and would lift it out of the build.
package main

import (
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/ready"

	"github.com/coredns/coredns/coremain"
)

func main() {
	coremain.Run()
}
