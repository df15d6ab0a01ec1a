# A Kubernetes node on this machine: containerd, and a kubelet when it is told of an API server.
#
# Runs as the first process of a PID and a mount namespace of its own (the harness starts it so). All that runs for the node is
# in these, so it goes with them: no mount, no container and no shim is left, however it ends. What is outside of them has a
# fixed name, and is taken away at the end, and before the next start if there was no end: the network and the cgroups.
#
# $1: the cluster program. $2: a folder for what is written. On standard input: "kubelet KUBECONFIG". On standard output:
# "ready" when containerd answers. The end of the input is the end of the node.
set -euo pipefail
cluster=$1
folder=$2

# There is a `kill -1` below, and it is meant for the processes of the node.
[ "$$" -eq 1 ] || { echo "node: not in a namespace of its own" >&2; exit 1; }

# The address of the API server, in the range of Services, and that of the name server. Pods reach both through the bridge.
addresses=(10.96.0.1 10.96.0.10)
bridge=rvcnode0
pods=10.244.77.0/24
cgroup=revoiceit-node

# With version 1 each controller has a tree of its own.
cgroup_trees() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo /sys/fs/cgroup
    else
        find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d
    fi
}

clean() {
    ip link delete "$bridge" 2>/dev/null || true
    for address in "${addresses[@]}"; do
        ip address delete "$address/32" dev lo 2>/dev/null || true
    done
    for tree in $(cgroup_trees); do
        [ ! -d "$tree/$cgroup" ] || find "$tree/$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
}

# One node at a time: the addresses are the machine's.
exec 9>/run/lock/revoiceit-node.lock
if ! flock --nonblock 9; then
    echo "node: another one runs on this machine, waiting for its end" >&2
    flock 9
fi
clean

finish() {
    # All but this shell.
    kill -KILL -1 2>/dev/null || true
    wait
    clean
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# What a node writes outside of its folder, it writes into nothing.
mkdir -p /var/lib/cni /var/lib/kubelet
for place in /run /var/lib/cni /var/lib/kubelet /var/log; do
    mount -t tmpfs tmpfs "$place"
done
state=/run/node
mkdir -p "$state/cni"

for address in "${addresses[@]}"; do
    ip address replace "$address/32" dev lo
done
# Between a pod and another, and from a pod to this machine.
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] || echo 1 >/proc/sys/net/ipv4/ip_forward
for tree in $(cgroup_trees); do
    mkdir -p "$tree/$cgroup"
    if [ -e "$tree/cgroup.subtree_control" ] && [ "$tree" = /sys/fs/cgroup ]; then
        for controller in cpu cpuset memory pids; do
            echo "+$controller" >"$tree/cgroup.subtree_control"
            echo "+$controller" >"$tree/$cgroup/cgroup.subtree_control"
        done
    fi
done

cat >"$state/cni/10-node.conf" <<END
{
  "cniVersion": "0.4.0", "name": "node", "type": "bridge", "bridge": "$bridge", "isGateway": true,
  "ipam": {"type": "host-local", "dataDir": "$state/ipam", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}
}
END
cat >"$state/containerd.toml" <<END
version = 2
root = "$state/containerd"
state = "$state/containerd-state"
[grpc]
address = "$folder/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/busybox:test"
# Without CAP_SYS_RESOURCE, as in many a CI, nobody may say that a pod is less worth killing.
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
# Works on every file system, and images are small.
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$state/cni"
END
containerd --config "$state/containerd.toml" --log-level warn >"$folder/containerd.out" 2>"$folder/containerd.err" </dev/null 9>&- &
for _ in $(seq 300); do
    kill -0 $! 2>/dev/null || { tail -n 20 "$folder/containerd.err" >&2; exit 1; }
    ! ctr --address "$folder/containerd.sock" version >/dev/null 2>&1 || break
    sleep 0.1
done
echo ready

start_kubelet() {
    cat >"$state/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: ${addresses[0]}
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$folder/containerd.sock
clusterDNS: [${addresses[1]}]
clusterDomain: cluster.local
resolvConf: ""
podLogsDir: $folder/pods
makeIPTablesUtilChains: false
# How full the machine's disk is, is none of the tests' business.
localStorageCapacityIsolation: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 1Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
shutdownGracePeriod: 0s
END
    "$cluster" kubelet --config "$state/kubelet.yaml" --kubeconfig "$1" --root-dir "$state/kubelet" --cert-dir "$state/kubelet-pki" \
        --hostname-override node --node-ip "${addresses[0]}" >"$folder/kubelet.out" 2>"$folder/kubelet.err" </dev/null 9>&- &
}

while read -r order argument; do
    case $order in
    kubelet) start_kubelet "$argument" ;;
    esac
done
