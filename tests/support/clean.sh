#!/bin/sh
# Takes one test host down when its input ends: clean.sh DIRECTORY STATE NAMESPACE
#
# The input is a pipe from the tests' process, so that nothing stays behind however that process ends.
directory=$1 state=$2 namespace=$3
cat >/dev/null

below() {
    # shellcheck disable=SC2013 # numbers, one word each
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do below "$child"; done
    echo "$1"
}

# The server, containerd and the shims name one of the two directories; what runs in containers descends from a shim.
# A second round finds what was started meanwhile.
networks=
for _ in 1 2; do
    # shellcheck disable=SC2013 # paths without blanks
    for file in $(grep -alsF -e "$directory/" -e "$state/" /proc/[0-9]*/cmdline); do
        pid=${file#/proc/}
        for one in $(below "${pid%/cmdline}"); do
            [ "$one" = $$ ] && continue
            networks="$networks $(stat -Lc %i "/proc/$one/ns/net" 2>/dev/null)"
            kill -9 "$one" 2>/dev/null
        done
    done
    # shellcheck disable=SC2046 # a list of words
    kill -9 $(ip netns pids "$namespace" 2>/dev/null) 2>/dev/null
done

# The pods' network namespaces are those that their processes were in.
for file in /run/netns/cni-*; do
    case " $networks " in
    *" $(stat -c %i "$file" 2>/dev/null) "*)
        umount -l "$file" 2>/dev/null
        rm -f "$file"
        ;;
    esac
done
for _ in 1 2; do
    awk -v a="$directory/" -v b="$state/" 'index($2, a) == 1 || index($2, b) == 1 { print $2 }' /proc/mounts |
        sort -r | while read -r mount; do umount -l "$mount" 2>/dev/null; done
done
for pod in "$directory"/data/agent/pods/*; do
    uid=${pod##*/}
    rm -rf /var/log/pods/*_"$uid"
    find /sys/fs/cgroup -depth -type d -path "*kubepods*/pod$uid*" -exec rmdir {} \; 2>/dev/null
done
ip netns delete "$namespace" 2>/dev/null
rm -rf "$state"
# Never what is still mounted.
grep -qF " $directory/" /proc/mounts || rm -rf "$directory"
