# A link of its own with two ends: `near`, where the servers are, and `far`, where an image is (`at_host COMMAND`).
# Runs in new user, network, mount and process namespaces, so that whatever is started ends with it.
set -eu
# dbus-daemon and avahi-daemon know no other place than /run, and there is no user but us.
mount -t tmpfs none /run
mkdir -p /run/dbus
for file in passwd group; do
    sed 's/^avahi:x:[0-9]*:[0-9]*/avahi:x:0:0/; s/^avahi:x:[0-9]*:$/avahi:x:0:/' "/etc/$file" >"/run/$file"
    mount --bind "/run/$file" "/etc/$file"
done
ip link set lo up
ip netns add far
ip link add near type veth peer name far netns far
at_host() { nsenter --net=/run/netns/far "$@"; }
at_host ip link set lo up
ip addr add 192.0.2.1/24 dev near
ip addr add 2001:db8::1/64 dev near nodad
ip link set near up
at_host ip addr add 192.0.2.7/24 dev far
at_host ip addr add 2001:db8::7/64 dev far nodad
at_host ip link set far up

# Starts a program and waits for a part of a line that it writes. Then `started` is its process, and `output` is where
# the rest can be read.
start() {
    local part=$1 pipe
    shift
    pipe=$(mktemp -u -p /run)
    mkfifo "$pipe"
    "$@" >"$pipe" 2>&1 &
    started=$!
    exec {output}<"$pipe"
    while read -r line <&"$output"; do
        echo "$line"
        [[ $line == *"$part"* ]] && return
    done
    echo "$1 has ended without: $part"
    exit 1
}

# Starts an Avahi on `near`, with one more setting if one is given.
start_avahi() {
    cat >/run/dbus.conf <<'END'
<busconfig>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
END
    printf '[server]\nallow-interfaces=near\n%s\n[wide-area]\nenable-wide-area=no\n' "${1-}" >/run/avahi.conf
    start unix:path= dbus-daemon --config-file=/run/dbus.conf --nofork --print-address
    start 'startup complete' avahi-daemon --no-drop-root --no-chroot --no-rlimits -f /run/avahi.conf
}

# An image that was told nothing: its firmware and its kernel know no server.
image=/run/image
mkdir -p $image/proc $image/etc
ln -s /proc/net $image/proc/net
beacon=$1
shift
# The firmware of the image's host takes what it is given, so that a run waits for the call.
get_image() {
    local address=${1-192.0.2.1} path=${2-/dispatch}
    at_host bash -c "exec 3<>/dev/tcp/$address/8080; printf 'GET $path HTTP/1.0\r\n\r\n' >&3; wc -c <&3"
}
boot_and_report() {
    at_host "$beacon" --root $image boot
    at_host "$beacon" --root $image report --title good --verdict passed </dev/null
}
