// Command cluster is Kubernetes in one program: the control plane, and the kubelet of a node.
//
// Its first argument names the component to be, the way busybox does it; all other arguments are that component's own.
// Each component so runs as a process of its own, which a test can freeze, kill and restart.
//
//	cluster kube-apiserver --etcd-servers=http://127.0.0.1:2379 …
//	cluster kubectl get pods
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	_ "time/tzdata" // as in the components' own main packages: the machine may have no time zones

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // as in kubectl's own main package
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // as in the components' own main packages
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // likewise
	_ "k8s.io/component-base/metrics/prometheus/version"  // likewise
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// verbs holds everything this program can be. A verb runs with os.Args[0] being its own name.
var verbs = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          server(apiserver.NewAPIServerCommand),
	"kube-controller-manager": server(controllermanager.NewControllerManagerCommand),
	"kube-scheduler":          server(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubelet":                 server(newKubeletCommand),
	"kubectl":                 runKubectl,
}

func main() {
	if len(os.Args) < 2 {
		usage("which component?")
	}
	run, known := verbs[os.Args[1]]
	if !known {
		usage(fmt.Sprintf("no component %q here", os.Args[1]))
	}
	os.Args = os.Args[1:]
	run()
}

// usage says what is wrong and what can be had, and exits.
func usage(complaint string) {
	fmt.Fprintf(os.Stderr, "cluster: %s\nusage: cluster %s [arguments]\n", complaint, strings.Join(slices.Sorted(maps.Keys(verbs)), "|"))
	os.Exit(2)
}

// server wraps a component whose command runs until it is told to end.
func server(command func() *cobra.Command) func() {
	return func() { os.Exit(cli.Run(command())) }
}

// newKubeletCommand passes a context where one is taken, which not all versions do.
func newKubeletCommand() *cobra.Command {
	switch command := any(kubelet.NewKubeletCommand).(type) {
	case func(context.Context) *cobra.Command:
		return command(context.Background())
	case func() *cobra.Command:
		return command()
	default:
		panic(fmt.Sprintf("the kubelet's command is made by a %T", command))
	}
}

// runKubectl prints errors the way kubectl does, which is not how the servers do it.
func runKubectl() {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}
