#!/bin/sh
# Installs mk8s on this host and starts it: a server by default, an agent where MK8S_URL or `agent` says so.
#
#   sudo ./install.sh                                           a server, built from this checkout
#   curl -sfL URL/install.sh | sh -s - server --disable-agent   flags go to `mk8s`
#   curl -sfL URL/install.sh | MK8S_URL=https://host:6443 MK8S_TOKEN=... sh -
#
# Environment:
#   MK8S_BINARY            install this executable instead of building or downloading one
#   INSTALL_MK8S_EXEC      the command and flags, as an alternative to arguments ("server --tls-san x")
#   INSTALL_MK8S_VERSION   which release to download (default: latest), when there is no checkout beside this script
#   INSTALL_MK8S_MIRROR    where releases are (default: https://github.com/mk8s/mk8s/releases)
#   INSTALL_MK8S_BIN_DIR   where the executable goes (default: /usr/local/bin)
#   INSTALL_MK8S_SKIP_START=true   install only
#   INSTALL_MK8S_SKIP_HELLO=true   do not try the cluster out with the hello image
#   MK8S_*                 everything `mk8s` reads from its environment (MK8S_URL, MK8S_TOKEN, ...) is kept for the service
set -eu

BIN_DIR=${INSTALL_MK8S_BIN_DIR:-/usr/local/bin}
CONFIG_DIR=/etc/mk8s
LOG=/var/log/mk8s.log
PID_FILE=/run/mk8s.pid
UNIT=/etc/systemd/system/mk8s.service
ENV_FILE=$CONFIG_DIR/mk8s.env
STEP=0

step() { STEP=$((STEP + 1)); printf '[%d/6] %s\n' "$STEP" "$*"; }
say() { printf '      %s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

checkout() {
    dir=$(CDPATH='' cd -- "$(dirname -- "$0")" 2>/dev/null && pwd) || return 1
    [ -f "$dir/Cargo.toml" ] && [ -f "$dir/src/main.rs" ] && printf '%s\n' "$dir"
}

# --- what is to run -------------------------------------------------------------------------------------------------

# configured FLAG DEFAULT: what the configuration file says of a flag
configured() {
    value=
    [ ! -r "$CONFIG_FILE" ] ||
        value=$(sed -n "s/^$1:[[:space:]]*//p" "$CONFIG_FILE" | sed "s/[[:space:]]#.*//; s/[[:space:]]*\$//; s/^[\"']//; s/[\"']\$//" | tail -n 1)
    printf '%s\n' "${value:-$2}"
}

# Sets ROLE and the positional parameters of the service in COMMAND (one line, each word quoted for sh).
choose_command() {
    if [ $# -eq 0 ] && [ -n "${INSTALL_MK8S_EXEC:-}" ]; then
        # shellcheck disable=SC2086 # the variable holds words by its definition
        set -- $INSTALL_MK8S_EXEC
    fi
    case "${1:-}" in
        server | agent) ROLE=$1; shift ;;
        *) if [ -n "${MK8S_URL:-}" ]; then ROLE=agent; else ROLE=server; fi ;;
    esac
    CONFIG_FILE=${MK8S_CONFIG_FILE:-$CONFIG_DIR/config.yaml}
    previous=
    for word in "$@"; do
        case "$previous" in --config | -c) CONFIG_FILE=$word ;; esac
        case "$word" in --config=*) CONFIG_FILE=${word#*=} ;; esac
        previous=$word
    done
    DATA_DIR=${MK8S_DATA_DIR:-$(configured data-dir /var/lib/mk8s)}
    PORT=${MK8S_HTTPS_LISTEN_PORT:-$(configured https-listen-port 6443)}
    KUBECONFIG_FILE=${MK8S_KUBECONFIG_OUTPUT:-$(configured write-kubeconfig "$CONFIG_DIR/mk8s.yaml")}
    DISABLE_AGENT=${MK8S_DISABLE_AGENT:-$(configured disable-agent false)}
    COMMAND=$ROLE
    previous=
    for word in "$@"; do
        case "$previous" in
            --data-dir) DATA_DIR=$word ;;
            --https-listen-port) PORT=$word ;;
            --write-kubeconfig | -o) KUBECONFIG_FILE=$word ;;
        esac
        case "$word" in
            --data-dir=*) DATA_DIR=${word#*=} ;;
            --https-listen-port=*) PORT=${word#*=} ;;
            --write-kubeconfig=*) KUBECONFIG_FILE=${word#*=} ;;
            --disable-agent | --disable-agent=true) DISABLE_AGENT=true ;;
            --disable-agent=false) DISABLE_AGENT=false ;;
        esac
        previous=$word
        COMMAND="$COMMAND '$(printf '%s' "$word" | sed "s/'/'\\\\''/g")'"
    done
    case "$DATA_DIR" in
        /) die "--data-dir must be a directory of its own" ;;
        /*) ;;
        *) die "--data-dir must be an absolute path: the service starts elsewhere" ;;
    esac
    if [ "$ROLE" = agent ]; then
        case " $* ${MK8S_URL:-}" in
            *--join* | *--server* | *https://*) ;;
            *) die "an agent needs the server to join: set MK8S_URL=https://HOST:6443 (or pass --join) and MK8S_TOKEN" ;;
        esac
    fi
}

# --- what the host must have ----------------------------------------------------------------------------------------

running() {
    if has_systemd; then systemctl is-active --quiet mk8s 2>/dev/null; else
        [ -s "$PID_FILE" ] && kill -0 "$(cat "$PID_FILE")" 2>/dev/null
    fi
}

has_systemd() { [ -d /run/systemd/system ] && have systemctl; }

kernel_has() { # NAME MODULE TEST-COMMAND
    sh -c "$3" >/dev/null 2>&1 && return 0
    modprobe "$2" >/dev/null 2>&1 && return 0
    problems="$problems
  the kernel has no $1: load it with 'modprobe $2', or use a kernel built with it"
}

check_host() {
    [ "$(id -u)" = 0 ] || die "this needs root: run it with sudo"
    case "$(uname -s)/$(uname -m)" in
        Linux/x86_64 | Linux/aarch64) ;;
        *) die "mk8s runs on Linux on x86_64 and aarch64; this is $(uname -s) on $(uname -m)" ;;
    esac
    problems=
    kernel_has "overlay file system" overlay "grep -qw overlay /proc/filesystems"
    kernel_has "network bridge" bridge "[ -d /sys/module/bridge ] || { ip link add mk8sprobe type bridge && ip link del mk8sprobe; }"
    kernel_has "veth links" veth "[ -d /sys/module/veth ] || { ip link add mk8sprobe type veth && ip link del mk8sprobe; }"
    kernel_has "nftables" nf_tables "[ -d /sys/module/nf_tables ] || nft list tables"
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        for controller in cpu memory pids; do
            grep -qw "$controller" /sys/fs/cgroup/cgroup.controllers || problems="$problems
  the cgroup controller '$controller' is off: enable it on the kernel's command line (cgroup_enable=$controller)"
        done
    else
        for controller in cpu memory pids; do
            [ -d "/sys/fs/cgroup/$controller" ] || problems="$problems
  the cgroup controller '$controller' is not mounted at /sys/fs/cgroup/$controller: mount cgroups, or boot with systemd.unified_cgroup_hierarchy=1"
        done
    fi
    if [ "$ROLE" = server ] && ! running && have ss && ss -Hltn "sport = :$PORT" 2>/dev/null | grep -q .; then
        problems="$problems
  port $PORT is taken by another program ($(ss -Hltnp "sport = :$PORT" | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | head -n 1)): stop it, or pass --https-listen-port"
    fi
    [ -z "$problems" ] || die "this host is not ready for mk8s:$problems"
    [ "$(wc -l </proc/swaps)" -le 1 ] || warn "swap is on: pods may be slower than their limits promise; 'swapoff -a' turns it off"
    if have getenforce && [ "$(getenforce)" = Enforcing ]; then
        semodule -l 2>/dev/null | grep -qw container ||
            warn "SELinux is enforcing and the policy for containers is missing: 'dnf install -y container-selinux', or pods may be refused files"
    fi
    if has_systemd && systemctl is-active --quiet firewalld; then
        warn "firewalld is running; let the cluster through it:
         firewall-cmd --permanent --add-port=$PORT/tcp --add-port=8472/udp
         firewall-cmd --permanent --zone=trusted --add-source=10.42.0.0/16 --add-source=10.43.0.0/16
         firewall-cmd --reload"
    fi
}

install_packages() {
    # containerd copies it into every pod and starts none without it.
    [ -e /etc/hosts ] || printf '127.0.0.1 localhost\n::1 localhost\n' >/etc/hosts
    missing=
    have containerd || missing="$missing containerd"
    have runc || missing="$missing runc"
    have nft || missing="$missing nftables"
    have ip || missing="$missing iproute2"
    have curl || missing="$missing curl"
    if [ -z "${MK8S_BINARY:-}" ] && checkout >/dev/null; then
        have cc || missing="$missing gcc"
        have protoc || missing="$missing protobuf-compiler"
    fi
    if [ -z "$missing" ]; then
        say "everything is here"
        return
    fi
    say "installing:$missing"
    if have apt-get; then
        packages=$(printf '%s' "$missing" | sed 's/gcc/gcc libc6-dev/')
        # shellcheck disable=SC2086 # a list of words
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            $packages ca-certificates >/dev/null; } ||
            die "apt-get could not install:$missing (see above); install them by hand and run this again"
    elif have dnf || have yum; then
        manager=$(command -v dnf || command -v yum)
        packages=$(printf '%s' "$missing" | sed 's/iproute2/iproute/')
        case "$packages" in *containerd*)
            # CentOS has no containerd of its own; docker's repository has it, with runc inside.
            if ! "$manager" -q list containerd >/dev/null 2>&1; then
                "$manager" install -y -q dnf-plugins-core >/dev/null 2>&1 || "$manager" install -y -q yum-utils >/dev/null
                "$manager" config-manager --add-repo https://download.docker.com/linux/centos/docker-ce.repo >/dev/null 2>&1 ||
                    yum-config-manager --add-repo https://download.docker.com/linux/centos/docker-ce.repo >/dev/null
                packages=$(printf '%s' "$packages" | sed 's/containerd/containerd.io/; s/ runc//')
            fi ;;
        esac
        # shellcheck disable=SC2086 # a list of words
        "$manager" install -y -q $packages >/dev/null ||
            die "$manager could not install:$packages (see above); install them by hand and run this again"
    else
        die "neither apt-get nor dnf is here; install these by hand and run this again:$missing"
    fi
    for program in containerd runc nft ip curl; do
        have "$program" || die "'$program' is still missing after installing:$missing"
    done
}

# --- the executable -------------------------------------------------------------------------------------------------

# Sets BUILT to the path of the executable to install.
find_binary() {
    if [ -n "${MK8S_BINARY:-}" ]; then
        [ -x "$MK8S_BINARY" ] || die "MK8S_BINARY=$MK8S_BINARY is not an executable file"
        BUILT=$MK8S_BINARY
        say "using $BUILT"
    elif dir=$(checkout); then
        build "$dir"
    else
        download
    fi
    if [ "$ROLE" = agent ] && ! "$BUILT" agent --help >/dev/null 2>&1; then
        die "this release of mk8s cannot join other machines yet; install a server here, or a later release"
    fi
}

build() {
    owner=$(stat -c %U "$1")
    home=$(getent passwd "$owner" | cut -d: -f6)
    PATH="$PATH:/root/.cargo/bin:${home:-/root}/.cargo/bin"
    have cargo || die "cargo is needed to build from a checkout: install Rust (https://rustup.rs), or set MK8S_BINARY"
    say "building the release executable (several minutes the first time)"
    if [ "$owner" = root ] || ! have runuser; then
        (cd "$1" && cargo build --release --locked) || die "the build failed (see above)"
    else
        runuser -u "$owner" -- sh -c "cd '$1' && PATH='$PATH' cargo build --release --locked" || die "the build failed (see above)"
    fi
    BUILT=${CARGO_TARGET_DIR:-$1/target}/release/mk8s
}

download() {
    mirror=${INSTALL_MK8S_MIRROR:-https://github.com/mk8s/mk8s/releases}
    version=${INSTALL_MK8S_VERSION:-latest}
    name=mk8s-$(uname -m)
    if [ "$version" = latest ]; then url=$mirror/latest/download; else url=$mirror/download/$version; fi
    temporary=$(mktemp -d)
    trap 'rm -rf "$temporary"' EXIT
    say "downloading $url/$name"
    curl -sfL -o "$temporary/$name" "$url/$name" || die "could not download $url/$name: check the network and INSTALL_MK8S_VERSION, or set MK8S_BINARY"
    curl -sfL -o "$temporary/sha256" "$url/$name.sha256" || die "could not download $url/$name.sha256"
    echo "$(cut -d' ' -f1 "$temporary/sha256")  $temporary/$name" | sha256sum -c - >/dev/null 2>&1 ||
        die "the download of $name is damaged: its checksum differs from the published one"
    chmod 755 "$temporary/$name"
    BUILT=$temporary/$name
}

install_files() {
    CHANGED=false
    mkdir -p "$BIN_DIR" "$CONFIG_DIR"
    if ! cmp -s "$BUILT" "$BIN_DIR/mk8s"; then
        cp "$BUILT" "$BIN_DIR/.mk8s.new"
        chmod 755 "$BIN_DIR/.mk8s.new"
        mv -f "$BIN_DIR/.mk8s.new" "$BIN_DIR/mk8s"
        CHANGED=true
    fi
    if ! have kubectl; then
        ln -s mk8s "$BIN_DIR/kubectl"
        CHANGED=true
    fi
    write_file "$BIN_DIR/mk8s-uninstall.sh" 755 "$(uninstaller)"
    umask_was=$(umask)
    umask 077
    write_file "$ENV_FILE" 600 "$(environment)"
    umask "$umask_was"
    if has_systemd; then
        write_file "$UNIT" 644 "$(unit)"
    else
        write_file "$CONFIG_DIR/command" 600 "$COMMAND"
    fi
}

# Writes a file when its content differs; sets CHANGED.
write_file() {
    if [ ! -f "$1" ] || [ "$(cat "$1")" != "$3" ]; then
        printf '%s\n' "$3" >"$1"
        chmod "$2" "$1"
        CHANGED=true
    fi
}

# The variables of the service, quoted so that sh and systemd read them alike.
environment() {
    env | grep -E '^(MK8S_[A-Z_]+|CONTAINERD_[A-Z_]+|(HTTP|HTTPS|NO)_PROXY|(http|https|no)_proxy)=' | grep -v '^MK8S_BINARY=' |
        sort | sed "s/'/'\\\\''/g; s/=/='/; s/\$/'/" || true
}

unit() {
    cat <<UNIT_END
[Unit]
Description=mk8s: a Kubernetes cluster in one executable
Documentation=https://github.com/mk8s/mk8s
Wants=network-online.target
After=network-online.target firewalld.service

[Service]
Type=exec
EnvironmentFile=-$ENV_FILE
ExecStart=$BIN_DIR/mk8s $(printf '%s' "$COMMAND" | sed "s/'/\"/g; s/[%\$]/&&/g")
# Pods outlive the service: only the main process is stopped.
KillMode=process
Delegate=yes
Restart=always
RestartSec=2s
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity

[Install]
WantedBy=multi-user.target
UNIT_END
}

uninstaller() {
    cat <<UNINSTALL_HEAD
#!/bin/sh
# Removes mk8s from this host: pods, mounts, links, network namespaces, nftables tables, data and executable.
set -u
DATA_DIR='$(printf '%s' "$DATA_DIR" | sed "s/'/'\\\\''/g")'
BIN_DIR='$BIN_DIR'
KUBECONFIG_FILE='$KUBECONFIG_FILE'
UNINSTALL_HEAD
    cat <<'UNINSTALL_END'
[ "$(id -u)" = 0 ] || { echo "error: this needs root: run it with sudo" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Sockets and the runtime's state are in a directory named by the data directory.
STATE=/run/mk8s/$(printf '%s' "$DATA_DIR" | sha256sum | cut -c1-8)
REAL_DIR=$(readlink -f "$DATA_DIR" 2>/dev/null || echo "$DATA_DIR")

echo "stopping mk8s"
if [ -d /run/systemd/system ] && have systemctl; then
    systemctl disable --now mk8s >/dev/null 2>&1
    rm -f /etc/systemd/system/mk8s.service
    systemctl daemon-reload
fi
if [ -s /run/mk8s.pid ]; then
    pid=$(cat /run/mk8s.pid)
    kill "$pid" 2>/dev/null
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ $tries -lt 50 ]; do
        tries=$((tries + 1))
        sleep 0.2
    done
    kill -9 "$pid" 2>/dev/null
fi

# The runtime and its shims name the data directory or the state directory on their command lines.
ours() {
    for cmdline in /proc/[0-9]*/cmdline; do
        pid=${cmdline#/proc/}
        pid=${pid%/cmdline}
        words=$({ tr '\0' ' ' <"$cmdline"; } 2>/dev/null) || continue
        program=${words%% *}
        case "${program##*/}" in
            containerd | containerd-shim*) ;;
            *) continue ;;
        esac
        case "$words" in
            *" $DATA_DIR/"* | *" $STATE/"*) echo "$pid" ;;
        esac
    done
}
descendants() {
    for child in $(cat "/proc/$1"/task/*/children 2>/dev/null); do
        descendants "$child"
    done
    echo "$1"
}

echo "stopping pods"
# Again when something was started meanwhile. The networks that the processes are in are remembered.
networks=
for _ in 1 2 3; do
    found=$(ours)
    [ -n "$found" ] || break
    processes=
    for pid in $found; do processes="$processes $(descendants "$pid")"; done
    for process in $processes; do
        networks="$networks $(stat -Lc %i "/proc/$process/ns/net" 2>/dev/null)"
    done
    # shellcheck disable=SC2086 # a list of numbers
    kill -9 $processes 2>/dev/null
    sleep 0.3
done

echo "removing mounts and networks"
# Twice: a mount may stand on a mount.
for _ in 1 2; do
    awk -v a="$REAL_DIR/" -v b="$STATE/" 'index($2, a) == 1 || index($2, b) == 1 { print $2 }' /proc/mounts | sort -r |
        while read -r mount; do umount -l "$mount" 2>/dev/null; done
done
host=$(stat -Lc %i /proc/self/ns/net)
for path in /run/netns/cni-*; do
    [ -e "$path" ] || continue
    inode=$(stat -Lc %i "$path")
    [ "$inode" != "$host" ] || continue
    case " $networks " in *" $inode "*) ip netns delete "${path##*/}" 2>/dev/null ;; esac
done
if have ip; then
    # Networks whose processes had ended before are those behind our bridge.
    ip -d link show master cni0 2>/dev/null | sed -n 's/.* link-netns \(cni-[^ ]*\).*/\1/p' |
        while read -r name; do ip netns delete "$name" 2>/dev/null; done
    for link in cni0 mk8s-dns mk8s-vxlan; do
        ip link delete "$link" 2>/dev/null
    done
fi
if have nft; then
    nft list tables 2>/dev/null | awk '$3 ~ /^mk8s/ { print $2, $3 }' | while read -r family table; do
        nft delete table "$family" "$table" 2>/dev/null
    done
fi
for pod in "$DATA_DIR"/agent/pods/*; do
    uid=${pod##*/}
    case "$uid" in "" | "*") continue ;; esac
    if [ -d /run/systemd/system ] && have systemctl; then
        systemctl stop "kubepods*pod$(printf '%s' "$uid" | tr - _).slice" >/dev/null 2>&1
    fi
    for cgroup in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
        [ -d "$cgroup" ] && find "$cgroup" -depth -path "*pod$uid*" -type d -exec rmdir {} \; 2>/dev/null
    done
    rm -rf /var/log/pods/*_"$uid"
done
for cgroup in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
    rmdir "$cgroup/burstable" "$cgroup/besteffort" "$cgroup" 2>/dev/null
done

echo "removing files"
[ -L "$BIN_DIR/kubectl" ] && [ "$(readlink "$BIN_DIR/kubectl")" = mk8s ] && rm -f "$BIN_DIR/kubectl"
rm -rf "$DATA_DIR/agent" "$DATA_DIR/server" "$DATA_DIR/storage" "$STATE" /run/mk8s.pid /etc/mk8s /var/log/mk8s.log* /etc/logrotate.d/mk8s
# Only as it was written: others may have been merged into it since.
[ -f "$KUBECONFIG_FILE" ] && [ "$(grep -c '^ *server: ' "$KUBECONFIG_FILE")" -le 1 ] && rm -f "$KUBECONFIG_FILE"
rmdir /run/mk8s /var/log/pods 2>/dev/null
rmdir "$DATA_DIR" 2>/dev/null
[ -e "$DATA_DIR" ] && echo "warning: $DATA_DIR is not empty: what is left there is not mk8s'" >&2
rm -f "$BIN_DIR/mk8s" "$BIN_DIR/mk8s-uninstall.sh"
echo "mk8s is gone"
UNINSTALL_END
}

# --- start ----------------------------------------------------------------------------------------------------------

start() {
    if running && [ "$CHANGED" = false ]; then
        say "it runs already, nothing has changed"
        return
    fi
    if has_systemd; then
        systemctl daemon-reload
        systemctl enable -q mk8s
        systemctl restart mk8s
    else
        stop_background
        (
            unset MK8S_BINARY
            set -a
            # shellcheck source=/dev/null
            . "$ENV_FILE"
            set +a
            eval "setsid '$BIN_DIR/mk8s' $COMMAND </dev/null >>$LOG 2>&1 & echo \$! >$PID_FILE"
        )
        if [ -d /etc/logrotate.d ]; then
            printf '%s {\n    size 50M\n    rotate 3\n    compress\n    copytruncate\n    missingok\n    notifempty\n}\n' "$LOG" >/etc/logrotate.d/mk8s
        fi
        say "no systemd here: it runs in the background, log $LOG, pid file $PID_FILE"
    fi
}

# Pods go on while their server is away, also when it has to be killed.
stop_background() {
    running || return 0
    kill "$(cat "$PID_FILE")"
    tries=0
    while running; do
        tries=$((tries + 1))
        if [ "$tries" -eq 150 ]; then
            warn "the old process does not end after 15 s and is killed; please report it with $LOG"
            kill -9 "$(cat "$PID_FILE")" 2>/dev/null || true
        fi
        [ "$tries" -lt 200 ] || die "the old process cannot be ended; end the one in $PID_FILE and run this again"
        sleep 0.1
    done
}

last_words() {
    if has_systemd; then journalctl -u mk8s -n 15 --no-pager -o cat 2>/dev/null; else tail -n 15 "$LOG" 2>/dev/null; fi
}

kubectl_mk8s() { "$BIN_DIR/mk8s" kubectl --kubeconfig "$KUBECONFIG_FILE" "$@"; }

# wait_for SECONDS WHAT COMMAND...: tries until it succeeds, showing that time passes.
wait_for() {
    seconds=$1
    what=$2
    shift 2
    tries=0
    while ! "$@" >/dev/null 2>&1; do
        if ! running; then
            last_words >&2
            die "mk8s has stopped while waiting for $what; its last words are above"
        fi
        tries=$((tries + 1))
        if [ $((tries % 25)) -eq 0 ]; then say "still waiting for $what ($((tries / 5)) s)"; fi
        if [ "$tries" -gt $((seconds * 5)) ]; then
            last_words >&2
            die "$what did not come within $seconds s; the last lines of the log are above"
        fi
        sleep 0.2
    done
}

node_is_ready() {
    kubectl_mk8s get nodes --no-headers 2>/dev/null | awk '$2 == "Ready" { found = 1 } END { exit !found }'
}

wait_ready() {
    if [ "$ROLE" = agent ]; then
        wait_for 120 "the node's certificate" test -s "$DATA_DIR/agent/tls/kubelet-client.crt"
        return
    fi
    wait_for 60 "the API server" kubectl_mk8s get --raw /readyz
    if [ "$DISABLE_AGENT" = false ]; then
        wait_for 120 "a Ready node" node_is_ready
    fi
}

answers() { curl -sf --max-time 2 "$1" | grep -q '^Hello from '; }

hello() {
    if [ "$ROLE" = agent ] || [ "$DISABLE_AGENT" = true ] || [ "${INSTALL_MK8S_SKIP_HELLO:-}" = true ]; then
        say "skipped"
        return
    fi
    kubectl_mk8s get deployment hello >/dev/null 2>&1 ||
        kubectl_mk8s create deployment hello --image=mk8s/hello:1 --port=8080 >/dev/null || die "the hello Deployment was refused (see above)"
    kubectl_mk8s get service hello >/dev/null 2>&1 ||
        kubectl_mk8s expose deployment hello --type=NodePort --port=80 --target-port=8080 >/dev/null || die "the hello Service was refused (see above)"
    address=$(kubectl_mk8s get nodes -o "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}")
    port=$(kubectl_mk8s get service hello -o "jsonpath={.spec.ports[0].nodePort}")
    URL=http://$address:$port/
    wait_for 60 "an answer from $URL" answers "$URL"
    say "$URL answers: $(curl -s "$URL")"
}

farewell() {
    if [ "$ROLE" = agent ]; then
        printf '\nThis node has joined. On a server: kubectl get nodes\n'
        return
    fi
    command=kubectl
    if ! have kubectl; then
        command="$BIN_DIR/mk8s kubectl"
    elif [ "$(readlink "$(command -v kubectl)")" != mk8s ]; then
        command="mk8s kubectl"
    fi
    printf '\nThe cluster is ready. Next:\n'
    printf '  export KUBECONFIG=%s\n' "$KUBECONFIG_FILE"
    printf '  %s get pods -A\n' "$command"
    if [ -n "${URL:-}" ]; then printf '  curl %s\n' "$URL"; fi
    printf 'Remove it all with: %s\n' "$BIN_DIR/mk8s-uninstall.sh"
}

main() {
    choose_command "$@"
    step "checking this host"
    check_host
    step "installing what is missing"
    install_packages
    step "getting the executable"
    find_binary
    step "installing mk8s ($ROLE) into $BIN_DIR"
    install_files
    if [ "${INSTALL_MK8S_SKIP_START:-}" = true ]; then
        say "not started, as asked"
        return
    fi
    step "starting it"
    start
    wait_ready
    step "trying it out"
    hello
    farewell
}

main "$@"
